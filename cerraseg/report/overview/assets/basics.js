// What all parts share. Texts reach the page as text, never as markup.
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const { scenarios, levels, maps, source } = data;
const NO_DATA = 255, PANELS = ["image", "truth", "prediction", "confidence", "difference"];
const narrow = matchMedia("(max-width: 800px)");
const LINES = [["#0072B2", []], ["#D55E00", [6, 3]], ["#009E73", [2, 3]]];
let model, pixels, shown = null, home = null;

function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
function fill(select, values, label = String) {
  select.replaceChildren(...values.map((value) => element("option", label(value), { value })));
}
function swatch(colour) {
  const made = element("span", "", { class: "swatch" });
  made.style.background = colour;
  return made;
}
const number = (value, decimals = 2) =>
  value == null ? "–" : value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
const within = (value, low, high, decimals = 2) =>
  number(value, decimals) + (low == null ? "" : ` [${number(low, decimals)}, ${number(high, decimals)}]`);
const nan = (values) => values.map((value) => value ?? NaN);
const paletteOf = (panel) => model(`map-${panel}`).renderers[0].glyph.color_mapper.palette;
const describe = (id, text) => byId(id).setAttribute("aria-label", text);

function rows(table, head, body) {
  const line = (cells, tag) => {
    const row = element("tr");
    row.append(...cells.map((cell, place) => {
      const made = element(place && tag === "td" ? "td" : "th", "", { scope: tag === "td" ? "row" : "col" });
      if (tag === "td" && place) made.removeAttribute("scope");
      made.append(...[cell].flat());
      return made;
    }));
    return row;
  };
  const parts = [element("thead"), element("tbody")];
  parts[0].append(line(head, "th"));
  parts[1].append(...body.map((cells) => line(cells, "td")));
  table.replaceChildren(...parts);
}
