// The map viewer's panels, legend and areas: what a view holds is unpacked when it is chosen.
async function unpack(place) {
  const bytes = Uint8Array.from(atob(maps.texts[place]), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
function differences(truth, prediction) {
  return truth.map((value, k) => (value === NO_DATA || prediction[k] === NO_DATA ? NO_DATA : Number(value !== prediction[k])));
}
function showAgreement(difference) {
  let compared = 0, differ = 0;
  for (const value of difference) if (value !== NO_DATA) { compared += 1; differ += value; }
  const [, other] = paletteOf("difference");
  byId("agreement").replaceChildren(swatch("var(--same)"), "same", swatch(other), `differ (${number(compared ? (100 * differ) / compared : null, 1)} %)`);
}
function showViews(id) { // the maps of a scenario; the same ground stays where both have it
  const place = shown == null ? null : maps.views[shown].place;
  const own = [...maps.views.keys()].filter((k) => maps.views[k].scenario === id);
  byId("viewing").hidden = byId("legend").hidden = !own.length;
  byId("no-map").hidden = Boolean(own.length);
  fill(byId("view"), own, (k) => maps.views[k].place);
  byId("places").hidden = own.length < 2;
  if (own.length) return chooseView(own.find((k) => maps.views[k].place === place) ?? own[0]);
  showAreas({});
}
async function chooseView(place) {
  const before = shown == null ? "" : String(maps.views[shown].extent);
  shown = place;
  byId("view").value = place;
  const view = maps.views[place], classes = levels[view.level];
  const wanted = ["classes", "confidence", "truth"].map((name) => (view[name] == null ? null : unpack(view[name])));
  const [prediction, confidence, truth] = await Promise.all(wanted);
  if (shown !== place) return; // another one was chosen meanwhile
  const blank = () => new Uint8Array(prediction.length).fill(NO_DATA);
  const difference = truth ? differences(truth, prediction) : blank();
  const layer = (values) => [new pixels(values, view.shape)];
  const named = (values) => [Array.from(values, (value) => classes[value]?.name ?? "no data")];
  const [left, bottom, right, top] = view.extent;
  const percent = Array.from({ length: 256 }, (_, value) => (value === NO_DATA ? "no data" : `${value * maps.step} %`));
  showPanels();
  labels(view);
  showLegend(view, classes, prediction);
  model("map-source").data = {
    x: [left], y: [bottom], dw: [right - left], dh: [top - bottom],
    prediction: layer(prediction), confidence: layer(confidence), truth: layer(truth ?? blank()), difference: layer(difference),
    predicted_name: named(prediction), true_name: truth ? named(truth) : [[]], percent: [Array.from(confidence, (value) => percent[value])],
  };
  model("image-source").data = pictures(view.image ? [{ url: maps.texts[view.image.text], extent: view.image.extent }] : []);
  if (truth) showAgreement(difference);
  showAreas(view, classes);
  layout();
  if (String(view.extent) !== before) whole();
  else moved();
}
function pictures(given) {
  const columns = { url: [], x: [], y: [], w: [], h: [], angle: [] };
  for (const { url, extent: [left, bottom, right, top], angle = 0 } of given)
    [url, (left + right) / 2, (bottom + top) / 2, right - left, top - bottom, angle].forEach((value, k) => Object.values(columns)[k].push(value));
  return columns;
}
function has(view, panel) {
  const needed = { image: view.image, truth: view.truth, difference: view.truth, basemap: view.tiles };
  return !(panel in needed) || needed[panel] != null;
}
function showPanels() {
  const buttons = [...byId("panels").children], view = maps.views[shown];
  for (const button of buttons) {
    const { panel } = button.dataset;
    button.hidden = !has(view, panel);
    byId(`panel-${panel}`).hidden = button.hidden || button.getAttribute("aria-pressed") === "false";
  }
  byId("viewer").classList.toggle("one", PANELS.filter((panel) => !byId(`panel-${panel}`).hidden).length === 1);
}
function labels(view) {
  const digits = view.decimals ? `{0.${"0".repeat(view.decimals)}}` : "{0,0}";
  const tips = [["predicted", "@predicted_name"], ["confidence", "@percent"], [view.axes[0], `$x${digits}`], [view.axes[1], `$y${digits}`]];
  if (view.truth != null) tips.unshift(["true", "@true_name"]);
  for (const name of PANELS) {
    model(`hover-${name}`).tooltips = tips;
    describe(`chart-map-${name}`, `${name}: ${view.place}, ${view.scenario}, ${source}`);
  }
  byId("files").replaceChildren(...links(Object.values(view.files)), ` (${number(view.full[1], 0)} × ${number(view.full[0], 0)} pixels; here ${number(view.shape[1], 0)} × ${number(view.shape[0], 0)}).`);
}
function showLegend(view, classes, prediction) {
  const counts = new Array(256).fill(0);
  for (const value of prediction) counts[value] += 1;
  byId("legend-level").textContent = `${view.level.toUpperCase()}, ${classes.length} classes`;
  byId("classes").replaceChildren(...classes.map((entry, k) => {
    const item = element("li"), button = element("button", entry.name, { type: "button", "aria-pressed": "false" });
    button.prepend(swatch(entry.colour));
    button.append(element("small", `${number((100 * counts[k]) / (prediction.length - counts[NO_DATA]), 1)} %`));
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") === "false"));
      colour(classes);
    });
    item.append(button);
    return item;
  }));
  colour(classes);
}
function colour(classes) {
  const pressed = [...byId("classes").querySelectorAll("button")].map((button) => button.getAttribute("aria-pressed") === "true");
  const palette = classes.map((entry, k) => entry.colour + (pressed.includes(true) && !pressed[k] ? "26" : "ff"));
  model("class-colours").setv({ palette, high: classes.length - 0.5 });
}
function showAreas({ areas, scenario, place }, classes) {
  byId("with-areas").hidden = !areas;
  byId("no-areas").hidden = Boolean(areas);
  if (!areas) return;
  byId("areas-of").replaceChildren(`${place}, by `, ...nameOf(scenario));
  const colours = Object.fromEntries(classes.map(({ name, colour }) => [name, colour])), known = areas.filter(({ name }) => name in colours);
  const most = 1.05 * Math.max(1e-9, ...known.flatMap((row) => [row.hectares, row.adjusted_hectares, row.adjusted_high]).filter(Number.isFinite));
  const basis = [...new Set(areas.map((row) => row.basis).filter(Boolean))].join(", ");
  const text = (row) => within(row.adjusted_hectares, row.adjusted_low, row.adjusted_high, 1);
  const accuracy = (row, name) => within(row[`${name}_accuracy`], row[`${name}_low`], row[`${name}_high`]);
  const drawn = (row) => bar({
    value: row.hectares, colour: colours[row.name], low: row.adjusted_low, high: row.adjusted_high, signs: { dot: row.adjusted_hectares },
    title: `${row.name}: ${number(row.hectares, 1)} ha mapped, ${text(row)} ha adjusted`,
  }, most);
  rows(byId("areas-table"), ["Class", `Hectares, 0 to ${number(most, 0)}`, "Mapped ha", "Share %", `Adjusted ha [95 %]${basis && `, by ${basis}`}`, "± of the formula", "User's accuracy", "Producer's accuracy"],
    areas.map((row) => [row.name in colours ? [swatch(colours[row.name]), row.name] : row.name, row.name in colours ? drawn(row) : "", number(row.hectares, 1), number(row.share, 1), text(row), number(row.adjusted_ci95, 1), accuracy(row, "users"), accuracy(row, "producers")]));
  markScrolling();
}
