// The benchmark's bars, and the scores of the chosen scenario.
function showBenchmark() {
  const { ids, colours, baselines, scores } = data.benchmark;
  const { heading, value, low, high, paper, baseline } = scores[byId("score").value];
  byId("benchmark-score").textContent = `${heading} (%)`;
  const most = Math.max(100, ...nan(value).filter(Number.isFinite));
  const place = Object.fromEntries(ids.map((id, k) => [id, k]));
  for (const group of byId("benchmark-table").tBodies) {
    const own = [...group.querySelectorAll("[data-row]")].sort((a, b) => (value[place[b.dataset.row]] ?? -1e9) - (value[place[a.dataset.row]] ?? -1e9));
    for (const row of own) {
      const k = place[row.dataset.row], signs = { line: baselines[k] === ids[k] ? null : baseline[k], diamond: paper?.[k] };
      const title = `${heading} ${within(value[k], low?.[k], high?.[k])}; baseline ${number(baseline[k])}${paper ? `; paper ${number(paper[k])}` : ""}`;
      row.cells[1].replaceChildren(bar({ value: value[k], colour: colours[k], low: low?.[k], high: high?.[k], signs, title }, most));
    }
    group.append(...own);
  }
}
function showConfusion(counts, classes) {
  const cell = (count, i, j, all) => {
    const percent = all ? (100 * count) / all : 0, decimals = classes.length > 7 ? 0 : 1;
    const made = element("td", all ? percent.toFixed(decimals) : "–", {
      class: percent > 60 ? "strong" : percent < 0.05 ? "none" : "", style: `--share: ${percent}`,
      title: `${classes[i].name} → ${classes[j].name}: ${number(count, 0)} pixels, ${all ? `${number(percent)} %` : "no true pixel"}`,
    });
    return made;
  };
  const named = ({ colour, name }) => [swatch(colour), name];
  rows(byId("confusion-table"), ["true ↓, predicted →", ...classes.map(({ name }) => name)], counts.map((row, i) => {
    const all = row.reduce((sum, count) => sum + count, 0);
    return [named(classes[i]), ...row.map((count, j) => cell(count, i, j, all))];
  }));
}
function showClasses({ classes: scores, confusion }, classes, baseline) {
  const text = (row, name) => within(row[name], ...row[`${name}_interval`]);
  const support = confusion.map((row) => number(row.reduce((sum, count) => sum + count, 0), 0));
  const beside = (k) => baseline?.classes[k].f1;
  const heads = ["Class", "F1 (%)", "F1 [95 %]", ...(baseline ? ["Baseline's F1"] : []), "IoU [95 %]", "Precision", "Recall", "True pixels"];
  rows(byId("class-table"), heads, scores.map((row, k) => {
    const [low, high] = row.f1_interval, { colour, name } = classes[k];
    const drawn = bar({ value: row.f1, colour, low, high, signs: { dot: row.iou, line: beside(k) }, title: `${name}: F1 ${text(row, "f1")}, IoU ${text(row, "iou")}` });
    const cells = [[swatch(colour), name], drawn, text(row, "f1"), number(beside(k)), text(row, "iou"), number(row.precision), number(row.recall), support[k]];
    return cells.filter((_, place) => place !== 3 || baseline);
  }));
}
function showScenario() {
  const id = byId("scenario-choice").value, scenario = scenarios[id], classes = levels[scenario.level];
  const { ids, baselines, scores: { macro_f1: macro } } = data.benchmark, k = ids.indexOf(id), beside = baselines[k];
  for (const heading of document.querySelectorAll(".chosen-id")) heading.replaceChildren(...nameOf(id));
  byId("scenario-verdict").textContent = `Macro F1 ${within(macro.value[k], macro.low?.[k], macro.high?.[k], 1)} %; ` +
    (beside === id ? "this is the pixel-wise baseline." : beside ? `pixel-wise baseline ${number(macro.baseline[k], 1)} %.` : "no pixel-wise baseline was run beside it.");
  showHistory(id, scenario.history);
  showConfusion(scenario.confusion, classes);
  showClasses(scenario, classes, beside === id ? null : scenarios[beside]);
  byId("scenario-files").replaceChildren(...links(scenario.files));
  for (const row of document.querySelectorAll("[data-row]")) row.classList.toggle("chosen", row.dataset.row === id);
  const diagram = [...byId("calibration-table").tBodies[0].rows].find((row) => row.dataset.row === id).querySelector("svg");
  byId("reliability").replaceChildren(diagram.cloneNode(true));
  markScrolling();
}
function chooseScenario(id) {
  byId("scenario-choice").value = id;
  showScenario();
  return showViews(id);
}
