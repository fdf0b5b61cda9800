"""Figures of the overview page as one Bokeh document without data, which the page's script fills in.

The document is the same for every run, and nothing in it needs ``unsafe-eval`` in the Content-Security-Policy.
"""

import json
import re
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import ColumnDataSource, CrosshairTool, FactorRange, HoverTool, LinearColorMapper, Plot, Range1d
from bokeh.models.annotations import Span
from bokeh.palettes import Blues256, Cividis256
from bokeh.plotting import figure

from cerraseg.report.figures import BASELINE_INK, EDGE, GRID, INK
from cerraseg.report.overview.maps import CONFIDENCE_STEP

_MAPS = ("image", "truth", "prediction", "confidence", "difference")  # panels of the map viewer
_CONFIDENCES = 100 // CONFIDENCE_STEP + 1
_SAME, _DIFFERENT = "#c9c9c9", "#D55E00"


def figure_document() -> dict[str, Any]:
    """Make the figures, ready for JSON; two calls give the same.

    Returns:
        ``doc``, whose figures are named as their HTML element without ``chart-``, and ``roots``, which maps the id of
        each figure to that of its element.
    """
    figures = [_benchmark(), _history("loss"), _history("score"), _confusion(), _classes(), _areas(), *_maps()]
    document = Document()
    for plot in figures:
        document.add_root(plot)
    roots = {plot.id: f"chart-{plot.name}" for plot in figures}
    text = json.dumps({"doc": document.to_json(deferred=False), "roots": roots})
    ids: dict[str, str] = {}  # Bokeh numbers models on from call to call
    text = re.sub(r'"p\d+"', lambda found: ids.setdefault(found[0], f'"m{len(ids)}"'), text)
    return dict(json.loads(text))


def _source(name: str, *columns: str) -> ColumnDataSource:
    return ColumnDataSource(data={column: [] for column in columns}, name=name)


def _figure(name: str, height: int, tools: str = "", **options: Any) -> Any:
    size: dict[str, Any] = {"height": height, "sizing_mode": "stretch_width"}
    plot = figure(name=name, tools=tools, toolbar_location=None, **size, **options)
    plot.outline_line_color = plot.border_fill_color = None
    plot.grid.grid_line_color = GRID
    plot.axis.axis_line_color = plot.axis.major_tick_line_color = EDGE
    plot.axis.minor_tick_line_color = None
    plot.axis.major_label_text_color = plot.axis.axis_label_text_color = INK
    plot.axis.major_label_text_font_size = plot.axis.axis_label_text_font_size = "12px"
    plot.axis.axis_label_text_font_style = "normal"
    return plot


def _bars(name: str, height: int, source: ColumnDataSource) -> Any:
    """Make horizontal bars by category, the first on top, with whiskers from ``low`` to ``high``."""
    plot = _figure(name, height, y_range=FactorRange(factors=[" "]), x_range=Range1d(start=0, end=100))
    plot.ygrid.grid_line_color = None
    plot.yaxis.major_tick_line_color = None
    plot.hbar(y="y", right="value", height=0.6, color="colour", line_color=EDGE, line_width=0.6, source=source)
    _whiskers(plot, source, "low", "high", "y")
    return plot


def _whiskers(plot: Any, source: ColumnDataSource, low: str, high: str, y: str) -> None:
    """Draw lines from ``low`` to ``high`` with a light rim, so that they are seen on a bar of any colour."""
    for colour, width in (("white", 3.4), (INK, 1.6)):
        plot.segment(x0=low, x1=high, y0=y, y1=y, line_color=colour, line_width=width, source=source)


def _benchmark() -> Any:
    columns = ("y", "value", "low", "high", "paper", "colour", "text", "paper_text", "epochs")
    source = _source("benchmark-source", *columns, "baseline", "bottom", "top")
    plot = _bars("benchmark", 300, source)
    dashed: dict[str, Any] = {"line_color": BASELINE_INK, "line_width": 1.6, "line_dash": "dashed"}
    plot.segment(x0="baseline", x1="baseline", y0="bottom", y1="top", source=source, **dashed)
    shown = {"marker": "diamond", "size": 11, "fill_color": None, "line_color": "black", "line_width": 1.6}
    plot.scatter(x="paper", y="y", source=source, **shown)
    tips = [("scenario", "@y"), ("score", "@text"), ("paper", "@paper_text"), ("epochs", "@epochs")]
    plot.add_tools(HoverTool(tooltips=tips, renderers=[plot.renderers[0]], name="benchmark-hover"))
    return plot


def _history(name: str) -> Any:
    plot = _figure(name, 260, x_range=Range1d(), y_range=Range1d())
    plot.xaxis.axis_label = "epoch"
    plot.xaxis.ticker.min_interval = 1
    plot.yaxis.axis_label = "loss" if name == "loss" else "validation score (%)"
    source = _source(f"{name}-source", "epochs", "values", "colour", "dash")
    plot.multi_line(xs="epochs", ys="values", line_color="colour", line_dash="dash", line_width=1.6, source=source)
    points = _source(f"{name}-points", "epoch", "value", "colour", "name")
    dots = plot.scatter(x="epoch", y="value", size=6, color="colour", source=points)
    plot.add_tools(HoverTool(tooltips=[("", "@name"), ("epoch", "@epoch"), ("value", "@value")], renderers=[dots]))
    line: dict[str, Any] = {"line_color": EDGE, "line_dash": "dotted", "line_width": 1.5}
    plot.add_layout(Span(dimension="height", name=f"{name}-selected", **line))
    return plot


def _confusion() -> Any:
    plot = _figure("confusion", 400, x_range=FactorRange(factors=[" "]), y_range=FactorRange(factors=[" "]))
    plot.grid.grid_line_color = None
    plot.axis.axis_line_color = plot.axis.major_tick_line_color = None
    plot.xaxis.axis_label, plot.yaxis.axis_label = "predicted class", "true class"
    colours = LinearColorMapper(palette=Blues256[::-1], low=0, high=100)
    source = _source("confusion-source", "x", "y", "percent", "label", "ink", "true", "predicted", "pixels", "share")
    filled: dict[str, Any] = {"fill_color": {"field": "percent", "transform": colours}, "line_color": "white"}
    cells = plot.rect(x="x", y="y", width=1, height=1, source=source, **filled)
    centred = {"text_align": "center", "text_baseline": "middle", "text_font_size": "11px"}
    plot.text(x="x", y="y", text="label", text_color="ink", source=source, **centred)
    tips = [("true", "@true"), ("predicted", "@predicted"), ("pixels", "@pixels"), ("of the true class", "@share")]
    plot.add_tools(HoverTool(tooltips=tips, renderers=[cells]))
    return plot


def _classes() -> Any:
    columns = ("y", "value", "low", "high", "colour", "name", "text", "y_iou", "iou", "iou_low", "iou_high", "iou_text")
    source = _source("classes-source", *columns, "precision", "recall", "support")
    plot = _bars("classes", 300, source)
    _whiskers(plot, source, "iou_low", "iou_high", "y_iou")
    plot.scatter(x="iou", y="y_iou", marker="circle", size=6, color="white", line_color=INK, source=source)
    plot.xaxis.axis_label = "F1 (bars) and IoU (circles), %"
    tips = [(name, f"@{name}") for name in ("precision", "recall", "support")]
    tips = [("class", "@name"), ("F1", "@text"), ("IoU", "@iou_text"), *tips]
    plot.add_tools(HoverTool(tooltips=tips, renderers=[plot.renderers[0]]))
    return plot


def _areas() -> Any:
    source = _source("areas-source", "y", "value", "low", "high", "adjusted", "colour", "text", "adjusted_text")
    plot = _bars("areas", 260, source)
    plot.scatter(x="adjusted", y="y", marker="circle", size=7, color="white", line_color=INK, source=source)
    plot.xaxis.axis_label = "hectares"
    plot.xaxis.ticker.desired_num_ticks = 4
    plot.xaxis.formatter.use_scientific = False
    tips = [("class", "@y"), ("mapped", "@text"), ("adjusted", "@adjusted_text")]
    plot.add_tools(HoverTool(tooltips=tips, renderers=[plot.renderers[0]]))
    return plot


def _maps() -> list[Plot]:
    """Make the map panels, which share their ranges, grid of pixels and crosshair."""
    ranges = {"x_range": Range1d(name="map-x"), "y_range": Range1d(name="map-y")}
    nothing = [np.zeros((1, 1), dtype=np.uint8)]
    place = {"x": [0.0], "y": [0.0], "dw": [1.0], "dh": [1.0]}
    layers: dict[str, Any] = {name: nothing for name in _MAPS[1:]}
    grid = ColumnDataSource(data={**place, **layers}, name="map-source")
    photo = ColumnDataSource(data={"url": [], "x": [], "y": [], "w": [], "h": []}, name="image-source")
    clear: dict[str, Any] = {"high_color": "#00000000", "low": -0.5}
    classes = LinearColorMapper(palette=["white"], high=0.5, name="class-colours", **clear)
    steps = [Cividis256[round(step * 255 / (_CONFIDENCES - 1))] for step in range(_CONFIDENCES)]
    confidence = LinearColorMapper(palette=steps, high=_CONFIDENCES - 0.5, **clear)
    differs = LinearColorMapper(palette=[_SAME, _DIFFERENT], high=1.5, **clear)
    colours = {"truth": classes, "prediction": classes, "confidence": confidence, "difference": differs}
    line: dict[str, Any] = {"line_color": INK, "line_width": 1, "line_alpha": 0.6}
    cross = (Span(dimension="width", **line), Span(dimension="height", **line))
    plots = []
    for name in _MAPS:
        plot = _figure(f"map-{name}", 400, tools="pan,wheel_zoom", active_scroll="wheel_zoom", **ranges)
        plot.grid.grid_line_color = None
        plot.outline_line_color = EDGE
        plot.background_fill_color = "white"
        plot.axis.formatter.use_scientific = False
        plot.axis.ticker.desired_num_ticks = 3
        if name == "image":
            plot.image_url(url="url", x="x", y="y", w="w", h="h", anchor="top_left", source=photo)
        # The image's own pixels cannot be hovered: the prediction lies over it, unseen.
        layer = "prediction" if name == "image" else name
        seen: dict[str, Any] = {"color_mapper": colours[layer], "global_alpha": float(name != "image")}
        image = plot.image(layer, "x", "y", "dw", "dh", source=grid, **seen)
        plot.add_tools(HoverTool(renderers=[image], name=f"hover-{name}"), CrosshairTool(overlay=cross))
        plots.append(plot)
    return plots
