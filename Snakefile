"""CerraSeg: from Sentinel-1/2 patches to scored land-cover maps. `snakemake -n` shows what would run."""


# Included here, beside the package, so that steps import it without an installation.
include: "workflow/Snakefile"


rule default:  # an included file's default does not count
    default_target: True
    input:
        rules.all.input,
