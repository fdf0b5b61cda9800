// The benchmark's chart and what is shown of one scenario.
function showBenchmark() {
  const { ids, colours, epochs, scores } = data.benchmark;
  const { heading, value, low, high, paper, baseline } = scores[byId("score").value];
  const none = ids.map(() => null);
  const plot = model("benchmark");
  plot.height = 60 + (ids.length > 30 ? 17 : 22) * ids.length;
  plot.y_range.factors = [...ids].reverse();
  const values = [value, high ?? none, paper ?? none, baseline].flat().filter((number) => number != null);
  plot.x_range.setv({ start: Math.min(0, ...values), end: Math.max(1, 1.05 * Math.max(...values)) });
  plot.below[0].axis_label = `${heading} (%)`;
  const hover = model("benchmark-hover");
  hover.tooltips = [["scenario", "@y"], [heading, "@text"], ...(paper ? [["paper", "@paper_text"]] : []), ["epochs", "@epochs"]];
  model("benchmark-source").data = {
    y: ids, value: nan(value), low: nan(low ?? none), high: nan(high ?? none), paper: nan(paper ?? none), colour: colours,
    text: value.map((number, place) => within(number, low?.[place], high?.[place])),
    baseline: nan(baseline), bottom: ids.map((id) => [id, -0.45]), top: ids.map((id) => [id, 0.45]),
    paper_text: (paper ?? none).map((value) => number(value)), epochs: epochs.map((value) => value ?? "–"),
  };
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
    const [colour, dash] = LINES[place], values = nan(history.columns[column]);
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
    sample.style.borderTopStyle = ["solid", "dashed", "dotted"][place];
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
function showConfusion(counts, classes) {
  const cells = { x: [], y: [], percent: [], label: [], ink: [], true: [], predicted: [], pixels: [], share: [] };
  const few = classes.length > 7 || narrow.matches;
  counts.forEach((row, i) => {
    const all = row.reduce((sum, count) => sum + count, 0);
    row.forEach((count, j) => {
      const percent = all ? (100 * count) / all : 0;
      cells.x.push(classes[j].abbreviation);
      cells.y.push(classes[i].abbreviation);
      cells.percent.push(percent);
      cells.label.push(all ? percent.toFixed(few ? 0 : 1) : "–");
      cells.ink.push(percent > 55 ? "white" : percent >= 0.05 ? "#222222" : "#767676");
      cells.true.push(classes[i].name);
      cells.predicted.push(classes[j].name);
      cells.pixels.push(number(count, 0));
      cells.share.push(all ? `${number(percent)} %` : "no true pixel");
    });
  });
  const plot = model("confusion"), names = classes.map((entry) => entry.abbreviation);
  plot.height = 80 + Math.max(26 * names.length, 240);
  plot.x_range.factors = names;
  plot.y_range.factors = [...names].reverse();
  model("confusion-source").data = cells;
  const total = counts.flat().reduce((sum, count) => sum + count, 0);
  describe("chart-confusion", `Confusion matrix of ${classes.length} classes over ${number(total, 0)} pixels`);
}
function showClasses({ classes: scores, confusion }, classes) {
  const column = (name) => scores.map((row) => row[name]);
  const end = (name, place) => nan(scores.map((row) => row[`${name}_interval`][place]));
  const text = (name) => scores.map((row) => within(row[name], ...row[`${name}_interval`]));
  const support = confusion.map((row) => number(row.reduce((sum, count) => sum + count, 0), 0));
  const names = classes.map((entry) => (narrow.matches ? entry.abbreviation : entry.name));
  const plot = model("classes");
  plot.height = 80 + Math.max(26 * names.length, 240);
  plot.y_range.factors = [...names].reverse();
  model("classes-source").data = {
    y: names, value: column("f1"), low: end("f1", 0), high: end("f1", 1), text: text("f1"),
    y_iou: names.map((name) => [name, -0.2]), iou: column("iou"), iou_low: end("iou", 0), iou_high: end("iou", 1),
    iou_text: text("iou"), colour: classes.map((entry) => entry.colour), name: classes.map((entry) => entry.name),
    precision: column("precision").map((value) => number(value)), recall: column("recall").map((value) => number(value)), support,
  };
  rows(byId("class-table"), ["Class", "F1 [95 %]", "IoU [95 %]", "Precision", "Recall", "True pixels"], scores.map((row, k) => [
    [swatch(classes[k].colour), `${classes[k].name} (${classes[k].abbreviation})`],
    text("f1")[k], text("iou")[k], number(row.precision), number(row.recall), support[k],
  ]));
}
function showScenario() {
  const id = byId("scenario-choice").value, scenario = scenarios[id], classes = levels[scenario.level];
  showHistory(id, scenario.history);
  showConfusion(scenario.confusion, classes);
  showClasses(scenario, classes);
  for (const link of document.querySelectorAll("[data-scenario]"))
    link.closest("tr").classList.toggle("chosen", link.dataset.scenario === id);
}
function chooseScenario(id) {
  byId("scenario-choice").value = id;
  showScenario();
  const place = shown && maps.views[shown].place;
  const views = maps.views.map((view, k) => [view, k]).filter(([view]) => view.scenario === id);
  const found = views.find(([view]) => view.place === place) ?? views[0];
  if (byId("follow").checked && found) chooseView(found[1]);
}
