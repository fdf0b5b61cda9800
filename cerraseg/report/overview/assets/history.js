// Losses and validation scores by epoch, and the colours of their figures.
const DASHES = [[[], "solid"], [[6, 3], "dashed"], [[2, 3], "dotted"]];

function colourOf(name) { // as Bokeh understands it: a variable's own text is not a colour
  const probe = document.body.appendChild(element("i"));
  probe.style.color = `var(--${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
function padded(values) {
  const low = Math.min(...values), high = Math.max(...values), space = 0.05 * (high - low) || 0.5;
  return values.length ? { start: low - space, end: high + space } : { start: 0, end: 1 };
}
function drawLines(name, history, columns) {
  const lines = { epochs: [], values: [], colour: [], dash: [] }, points = { epoch: [], value: [], colour: [], name: [] };
  const keys = byId(`keys-${name}`);
  keys.replaceChildren();
  columns.filter((column) => history.columns[column]).forEach((column, place) => {
    const colour = colourOf(`line${place + 1}`), [dash, style] = DASHES[place], values = nan(history.columns[column]);
    lines.epochs.push(history.epoch);
    lines.values.push(values);
    lines.colour.push(colour);
    lines.dash.push(dash);
    points.epoch.push(...history.epoch);
    points.value.push(...values);
    points.colour.push(...values.map(() => colour));
    points.name.push(...values.map(() => data.lines[column]));
    const key = element("span", data.lines[column], { class: "key" }), sample = element("i");
    sample.style.borderTopColor = colour;
    sample.style.borderTopStyle = style;
    key.prepend(sample);
    keys.append(key);
  });
  model(`${name}-source`).data = lines;
  model(`${name}-points`).data = points;
  model(`${name}-selected`).location = history.selected[0] ?? null;
  model(name).x_range.setv(padded(history.epoch));
  const ends = padded(points.value.filter(Number.isFinite));
  model(name).y_range.setv(name === "score" ? { ...ends, start: 0 } : ends);
  describe(`chart-${name}`, `${columns.map((column) => data.lines[column]).join(", ")} over ${history.epoch.length} epochs`);
}
function showHistory(id, history) {
  byId("history").hidden = !history;
  byId("history-note").textContent = history
    ? `${id} · ${source} · selected epoch ${history.selected.join(", ") || "unknown"} (dotted line) of ${history.epoch.length}.`
    : `${id} · ${source} · no history: its checkpoint is of no single training of this run.`;
  if (!history) return;
  drawLines("loss", history, ["train_loss", "val_loss"]);
  drawLines("score", history, ["val_macro_f1", "val_miou", "val_edge_f1"]);
}
function paint() {
  const ink = colourOf("soft"), line = colourOf("line");
  for (const plot of [model("loss"), model("score")]) {
    for (const axis of [...plot.below, ...plot.left])
      axis.setv({ axis_label_text_color: ink, major_label_text_color: ink, axis_line_color: line, major_tick_line_color: line });
    for (const grid of plot.center) if ("grid_line_color" in grid) grid.grid_line_color = line;
  }
  const { color_mapper: differences } = model("map-difference").renderers[0].glyph;
  differences.palette = [colourOf("same"), differences.palette[1]];
  model("loss-selected").line_color = model("score-selected").line_color = ink;
}
function themes() {
  const dark = matchMedia("(prefers-color-scheme: dark)"), button = byId("theme"), root = document.documentElement;
  const set = (on) => {
    root.style.colorScheme = on ? "dark" : "light";
    button.setAttribute("aria-pressed", String(on));
    paint();
    showScenario();
  };
  button.addEventListener("click", () => set(button.getAttribute("aria-pressed") === "false"));
  dark.addEventListener("change", () => set(dark.matches));
  set(dark.matches);
}
