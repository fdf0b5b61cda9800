"""The command ``cerraseg``: map, look at, score and export with a model in hand; begin and run a project."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cerraseg.core.errors import CerraSegError, ConfigError
from cerraseg.core.layout import SOURCE
from cerraseg.core.versions import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # loading rich takes longer than all else
    help="Land-cover maps from Sentinel-1/2 images. Every command has --help with examples.",
    epilog="Exit codes: 0 done, 1 an input or a setting is wrong, 2 the command line is.",
)

Device = StrEnum("Device", ["auto", "cpu", "cuda", "mps"])
Precision = StrEnum("Precision", ["float32", "bfloat16"])
Format = StrEnum("Format", ["onnx", "torchscript", "safetensors", "stac", "huggingface"])

Checkpoint = Annotated[
    Path, typer.Argument(help="A checkpoint of CerraSeg, or an ONNX or safetensors file exported from one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
_IMAGES = {"allow_extra_args": True, "ignore_unknown_options": True}


@contextmanager
def _errors_in_words() -> Iterator[None]:
    """Log to standard error; print an error of ours without a traceback, and end with exit code 1."""
    log, handler = logging.getLogger("cerraseg"), logging.StreamHandler()
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    except CerraSegError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from None
    finally:
        log.removeHandler(handler)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command(
    "map",
    context_settings=_IMAGES,
    epilog="Examples:\n\ncerraseg map checkpoint.pt --msi s2.tif --sar s1.tif -o map.tif\n\n"
    "cerraseg map model.onnx --msi B02.tif,B03.tif,B04.tif -o map.tif --confidence confidence.tif\n\n"
    "cerraseg map checkpoint.pt --aoi farm.geojson --dates 2022-06/2022-09 -o farm",
)
def map_(
    context: typer.Context,
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option("--output", "-o", help="Map to write, a GeoTIFF; with --aoi, a folder.")],
    confidence: Annotated[Path | None, typer.Option(help="File for the confidence, in percent.")] = None,
    probabilities: Annotated[Path | None, typer.Option(help="File for each class's probability, in percent.")] = None,
    overlap: Annotated[float, typer.Option(min=0, max=0.9, help="Share of a tile that its neighbour covers.")] = 0.375,
    tta: Annotated[bool, typer.Option("--tta", help="Average over flips and turns, at eight times the cost.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Tiles at a time.")] = 32,
    precision: Annotated[Precision, typer.Option(help="Of the forward pass.")] = Precision.float32,
    device: Annotated[Device, typer.Option(help="auto: a GPU where there is one.")] = Device.auto,
    check_scale: Annotated[bool, typer.Option(help="Refuse values in other units than in training.")] = True,
    aoi: Annotated[str | None, typer.Option(help="Area to map: polygons, or WEST,SOUTH,EAST,NORTH.")] = None,
    dates: Annotated[str | None, typer.Option(help="Of --aoi: FIRST/LAST, days or months.")] = None,
    catalogue: Annotated[str, typer.Option(help="Of --aoi: a ready name or a STAC API.")] = "planetary-computer",
    max_cloud: Annotated[float, typer.Option(min=0, max=100, help="Of --aoi: percent of an image.")] = 60,
    tile_km: Annotated[float, typer.Option(min=0.1, help="Of --aoi: side of what is fetched at a time.")] = 20,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Of --aoi: search, and tell what the rest costs.")] = False,
) -> None:
    """Map an image, or a place and a season, with a trained model.

    Give the image of each sensor that the model has as --<sensor> FILE, such as --msi and --sar: a raster of any
    format that GDAL reads, several joined by commas, or a Sentinel-2 SAFE folder. cerraseg show lists the sensors and
    bands. Stopped at any time, the same command goes on.

    With --aoi and --dates the images come from a STAC catalogue (earth-search, planetary-computer, cdse, or an
    address), and the folder gets a map of each UTM zone.
    """
    import cerraseg
    from cerraseg.config.regions import place_of, span_of

    with _errors_in_words():
        images: dict[str, Any] = _images(context.args)
        model = cerraseg.load(checkpoint, device)
        how: dict[str, Any] = {"overlap": overlap, "augment": tta, "batch_size": batch_size, "precision": precision}
        if aoi or dates:
            if not (aoi and dates) or images or confidence or probabilities:
                raise ConfigError("--aoi goes with --dates, and without images, --confidence and --probabilities")
            where: dict[str, Any] = {"catalogue": catalogue, "max_cloud": max_cloud, "tile_km": tile_km}
            where |= {"dry_run": dry_run, "check_scale": check_scale}
            model.map_region(place_of(aoi), span_of(dates), out=output, **where, **how)
            return typer.echo(output)
        how["layers"] = {"probabilities": probabilities} if probabilities else {}
        model.map(out=output, confidence=confidence, check_scale=check_scale, **how, **images)
        typer.echo(output)


def _images(words: list[str]) -> dict[str, list[str]]:
    """Return sensor → files of the options that are named after sensors."""
    found: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        name, given, value = word.partition("=")
        value = value if given else next(rest, "")
        if not name.startswith("--") or not value:
            raise ConfigError(f"{word}: expected --<sensor> FILE, such as --msi s2.tif")
        found[name[2:]] = value.split(",")
    return found


@app.command(epilog="Example: cerraseg show checkpoint.pt --json | jq .classes")
def show(checkpoint: Checkpoint, as_json: AsJson = False) -> None:
    """Tell what a model is and expects.

    Legend, bands and their values in training, calibration, how it was trained.
    """
    import cerraseg

    with _errors_in_words():
        summary = cerraseg.load(checkpoint, "cpu").summary()
        typer.echo(json.dumps(summary, indent=2) if as_json else _shown(summary))


def _shown(summary: Mapping[str, Any]) -> str:
    lines = [f"{summary['model']}, {summary['parameters']:,} parameters, level {summary['level']}"]
    lines += [f"bands and classes of {summary['dataset']}, patches of {summary['patch_size']} pixels", "", "classes"]
    lines += [f"  {entry['id']:>3}  {entry['colour']}  {entry['name']}" for entry in summary["classes"]]
    statistics = summary["statistics"]
    for sensor, bands in summary["sensors"].items():
        lines += ["", f"--{sensor}" + " " * 10 + "mean in training (range)"]
        for band in bands:
            of = statistics.get(band)
            lines.append(f"  {band:<10}" + ("{mean:.4g} ({min:.4g} to {max:.4g})".format(**of) if of else "not known"))
    calibration = summary["calibration"]
    lines += ["", f"calibration: {calibration.get('method', 'yes') if calibration else 'none'}", "", "training"]
    plain = {key: value for key, value in summary["training"].items() if not isinstance(value, dict | list)}
    lines += [f"  {key}: {f'{value:.4g}' if isinstance(value, float) else value}" for key, value in plain.items()]
    return "\n".join(lines)


@app.command(epilog="Example: cerraseg score map.tif fields.gpkg --field crop")
def score(
    map_file: Annotated[Path, typer.Argument(metavar="MAP", help="A class map that CerraSeg wrote.")],
    labels: Annotated[Path, typer.Argument(help="Polygons, points, or a raster of class ids.")],
    field: Annotated[str | None, typer.Option(help="Attribute with the class: its id or name.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the file; the first by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score a map by labels of its ground.

    Accuracy, F1 by class, and areas corrected for the map's errors, with 95 % intervals.
    """
    from cerraseg.evaluation.score_map import as_text, score_map

    with _errors_in_words():
        found = score_map(map_file, labels, field, layer)
        typer.echo(json.dumps(found, indent=2) if as_json else as_text(found))


@app.command(epilog="Example: cerraseg export checkpoint.pt model.onnx --deepness, for QGIS")
def export(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Argument(help="File to write; of huggingface, a folder.")],
    format_: Annotated[Format, typer.Option("--format", help="Of the file.")] = Format.onnx,
    deepness: Annotated[bool, typer.Option("--deepness", help="ONNX with what QGIS's plugin Deepness reads.")] = False,
    card: Annotated[Path | None, typer.Option(help="Of huggingface: the model card to put in.")] = None,
) -> None:
    """Write a model for other programs.

    Graphs (onnx, torchscript) hold normalisation, calibration and hierarchy. stac is an item by the extension for
    machine learning models, huggingface a folder for a model hub.
    """
    from cerraseg.mapping.hub_folder import write_hub_folder
    from cerraseg.mapping.model_item import write_model_item
    from cerraseg.models.exchange import export as write

    with _errors_in_words():
        if deepness and format_ is not Format.onnx:
            raise ConfigError(f"--deepness with --format {format_}: Deepness reads ONNX alone; leave one of them out")
        if format_ is Format.stac:
            write_model_item(checkpoint, output)
        elif format_ is Format.huggingface:
            write_hub_folder(checkpoint, output, card)
        else:
            write(checkpoint, output, format_, deepness=deepness)
        typer.echo(output)


@app.command(
    context_settings=_IMAGES,
    epilog="Example: cerraseg init my-project --msi s2.tif --labels fields.gpkg --field crop",
)
def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder of the project, which is made.")],
    labels: Annotated[Path, typer.Option(help="Polygons, points, or a raster of class ids.")],
    field: Annotated[str | None, typer.Option(help="Attribute with the class.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the file; the first by default.")] = None,
) -> None:
    """Write a project folder that snakemake runs.

    From an image of each sensor (--<sensor> FILE) and labels: legend, bands, patches and split follow from them.
    """
    from cerraseg.orchestration.init_project import init_project

    with _errors_in_words():
        for line in init_project(folder, _images(context.args), labels, field, layer):
            typer.echo(line)


@app.command(context_settings=_IMAGES, add_help_option=False)
def run(context: typer.Context) -> None:
    """Run the workflow here: snakemake, installed.

    All arguments go to it; without any, it has all cores.
    """
    arguments = context.args or ["--cores", "all"]
    profile = [] if Path("profiles/default").is_dir() else ["--workflow-profile", str(SOURCE / "profiles/default")]
    if any(word.startswith("--workflow-profile") for word in arguments):
        profile = []
    snakefile = [] if Path("Snakefile").is_file() else ["--snakefile", str(SOURCE / "workflow/Snakefile")]
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", *snakefile, *profile, *arguments])  # noqa: S606


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Tell what is installed and there.

    Versions, GPU, memory, disk, proxies, SLURM.
    """
    from cerraseg.models.doctor import examine

    found = examine()
    lines = [f"{name:<28}{value}" for name, value in found.items()]
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines))


if __name__ == "__main__":
    app()
