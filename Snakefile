"""CerraSeg: from Sentinel-1/2 patches to scored land-cover maps. `snakemake -n` shows what would run."""

if (
    not workflow.overwrite_configfiles
):  # a configuration stands alone: it is never merged into the demo's

    configfile: "config/config.yaml"


include: "workflow/rules/guard.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/common_paths.smk"
include: "workflow/rules/common_scenes.smk"
include: "workflow/rules/common_search.smk"
include: "workflow/rules/digests.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/folds.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/map.smk"
include: "workflow/rules/scenes.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/search.smk"


localrules:
    digests,


rule all:
    default_target: True
    input:
        TABLES,
        FIGURES,
        MAPS,
        SCENE_MAPS,
        CHECKPOINTS,
        SCORES,
        CARDS,
        f"{R}/digests.json",
