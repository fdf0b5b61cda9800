// The map viewer's panels, classes and areas: what a view holds is unpacked when it is chosen.
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
  const [same, other] = paletteOf("difference");
  byId("agreement").replaceChildren(swatch(same), "same", swatch(other), `differ (${number(compared ? (100 * differ) / compared : null, 1)} %)`);
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
  panels(view, classes);
  model("map-source").data = {
    x: [left], y: [bottom], dw: [right - left], dh: [top - bottom],
    prediction: layer(prediction), confidence: layer(confidence), truth: layer(truth ?? blank()), difference: layer(difference),
    predicted_name: named(prediction), true_name: truth ? named(truth) : [[]], percent: [Array.from(confidence, (value) => percent[value])],
  };
  model("image-source").data = view.image ? photo(view.image) : { url: [], x: [], y: [], w: [], h: [] };
  if (truth) showAgreement(difference);
  showAreas(view, classes);
  layout();
  if (String(view.extent) !== before) whole(); // the same ground stays as it is, for comparing
}
function photo({ text, extent: [left, bottom, right, top] }) {
  return { url: [maps.texts[text]], x: [left], y: [top], w: [right - left], h: [top - bottom] };
}
function panels(view, classes) {
  byId("panel-image").hidden = !view.image;
  byId("panel-truth").hidden = byId("panel-difference").hidden = view.truth == null;
  const digits = view.decimals ? `{0.${"0".repeat(view.decimals)}}` : "{0,0}";
  const tips = [["predicted", "@predicted_name"], ["confidence", "@percent"], [view.axes[0], `$x${digits}`], [view.axes[1], `$y${digits}`]];
  if (view.truth != null) tips.unshift(["true", "@true_name"]);
  for (const name of PANELS) {
    model(`hover-${name}`).tooltips = tips;
    model(`map-${name}`).below[0].axis_label = view.axes[0];
    model(`map-${name}`).left[0].axis_label = view.axes[1];
    describe(`chart-map-${name}`, `${name}: ${view.place}, ${view.scenario}, ${source}`);
  }
  byId("classes").replaceChildren(...classes.map((entry) => {
    const item = element("li"), button = element("button", `${entry.name} (${entry.abbreviation})`, { type: "button", "aria-pressed": "false" });
    button.prepend(swatch(entry.colour));
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") === "false"));
      colour(classes);
    });
    item.append(button);
    return item;
  }));
  colour(classes);
  const files = Object.values(view.files).flatMap((file) => [element("code", file), ", "]).slice(0, -1);
  byId("files").replaceChildren(...files, ` (${number(view.full[1], 0)} × ${number(view.full[0], 0)} pixels; here ${number(view.shape[1], 0)} × ${number(view.shape[0], 0)}).`);
}
function colour(classes) {
  const pressed = [...byId("classes").querySelectorAll("button")].map((button) => button.getAttribute("aria-pressed") === "true");
  const palette = classes.map((entry, k) => entry.colour + (pressed.includes(true) && !pressed[k] ? "26" : "ff"));
  model("class-colours").setv({ palette, high: classes.length - 0.5 });
}
function showAreas({ areas }, classes) {
  byId("areas").hidden = !areas;
  if (!areas) return;
  const known = areas.filter((row) => classes.some((entry) => entry.name === row.name));
  const column = (name) => known.map((row) => row[name] ?? NaN);
  const text = (row) => within(row.adjusted_hectares, row.adjusted_low, row.adjusted_high, 1);
  const plot = model("areas"), names = known.map((row) => row.name);
  plot.height = 60 + 22 * names.length;
  plot.y_range.factors = [...names].reverse();
  const ends = ["hectares", "adjusted_hectares", "adjusted_high"].flatMap(column).filter(Number.isFinite);
  plot.x_range.setv({ start: 0, end: 1.05 * Math.max(1e-9, ...ends) });
  model("areas-source").data = {
    y: names, value: column("hectares"), low: column("adjusted_low"), high: column("adjusted_high"), adjusted: column("adjusted_hectares"),
    colour: known.map((row) => classes.find((entry) => entry.name === row.name).colour),
    text: known.map((row) => `${number(row.hectares, 1)} ha`), adjusted_text: known.map((row) => `${text(row)} ha`),
  };
  const basis = [...new Set(areas.map((row) => row.basis).filter(Boolean))].join(", ");
  const accuracy = (row, name) => within(row[`${name}_accuracy`], row[`${name}_low`], row[`${name}_high`]);
  rows(byId("areas-table"), ["Class", "Mapped ha", "Share %", `Adjusted ha [95 %]${basis && `, by ${basis}`}`, "± of the formula", "User's accuracy", "Producer's accuracy"],
    areas.map((row) => [row.name, number(row.hectares, 1), number(row.share, 1), text(row), number(row.adjusted_ci95, 1), accuracy(row, "users"), accuracy(row, "producers")]));
}
