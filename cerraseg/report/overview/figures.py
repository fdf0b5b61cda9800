"""Histories and maps of the overview page as one Bokeh document without data, which the page's script fills in.

The document is the same for every run, and nothing in it needs ``unsafe-eval`` in the Content-Security-Policy.
"""

import json
import re
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import ColumnDataSource, CrosshairTool, HoverTool, LinearColorMapper, Plot, Range1d, WheelZoomTool
from bokeh.models.annotations import Span
from bokeh.palettes import Cividis256
from bokeh.plotting import figure

from cerraseg.report.figures import EDGE, GRID, INK
from cerraseg.report.overview.maps import CONFIDENCE_STEP

_MAPS = ("image", "prediction", "truth", "difference", "confidence", "basemap")  # panels of the map viewer
_PICTURES = ("image", "basemap")
_CONFIDENCES = 100 // CONFIDENCE_STEP + 1
_SAME, _DIFFERENT = "#c9c9c9", "#D55E00"


def figure_document() -> dict[str, Any]:
    """Make the figures, ready for JSON; two calls give the same.

    Returns:
        ``doc``, whose figures are named as their HTML element without ``chart-``, and ``roots``, which maps the id of
        each figure to that of its element.
    """
    figures = [_history("loss"), _history("score"), *_maps()]
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
    plot.outline_line_color = plot.border_fill_color = plot.background_fill_color = None
    plot.grid.grid_line_color = GRID
    plot.axis.axis_line_color = plot.axis.major_tick_line_color = EDGE
    plot.axis.minor_tick_line_color = None
    plot.axis.major_label_text_color = plot.axis.axis_label_text_color = INK
    plot.axis.major_label_text_font_size = plot.axis.axis_label_text_font_size = "12px"
    plot.axis.axis_label_text_font_style = "normal"
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


def _maps() -> list[Plot]:
    """Make the map panels, which share their ranges, grid of pixels and crosshair."""
    ranges = {"x_range": Range1d(name="map-x"), "y_range": Range1d(name="map-y")}
    nothing = [np.zeros((1, 1), dtype=np.uint8)]
    place = {"x": [0.0], "y": [0.0], "dw": [1.0], "dh": [1.0]}
    layers: dict[str, Any] = {name: nothing for name in _MAPS if name not in _PICTURES}
    grid = ColumnDataSource(data={**place, **layers}, name="map-source")
    pictures = {name: _source(f"{name}-source", "url", "x", "y", "w", "h", "angle") for name in _PICTURES}
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
        plot = _figure(f"map-{name}", 400, tools="pan", **ranges)
        zoom = WheelZoomTool(modifiers="ctrl")  # the wheel alone scrolls the page
        plot.add_tools(zoom)
        plot.toolbar.active_scroll = zoom
        plot.grid.grid_line_color = None
        plot.axis.visible = False
        plot.min_border = 0
        layer = name
        if name in _PICTURES:  # their own pixels cannot be hovered: the prediction lies over them, unseen
            plot.image_url(url="url", x="x", y="y", w="w", h="h", angle="angle", anchor="center", source=pictures[name])
            layer = "prediction"
        seen: dict[str, Any] = {"color_mapper": colours[layer], "global_alpha": float(name not in _PICTURES)}
        image = plot.image(layer, "x", "y", "dw", "dh", source=grid, **seen)
        plot.add_tools(HoverTool(renderers=[image], name=f"hover-{name}"), CrosshairTool(overlay=cross))
        plots.append(plot)
    return plots
