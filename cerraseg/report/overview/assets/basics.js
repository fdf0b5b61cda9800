// What all parts share. Texts reach the page as text, never as markup.
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const { scenarios, levels, maps, source } = data;
const NO_DATA = 255, PANELS = ["image", "prediction", "truth", "difference", "confidence", "basemap"];
const narrow = matchMedia("(max-width: 900px)");
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
function nameOf(id) {
  return data.names[id].flatMap(([value, title], place) => [place ? "-" : "", element("abbr", value, title ? { title } : {})]);
}
function links(files) { // relative, whatever a folder is called
  const one = (file) => element("a", file.split("/").at(-1), { title: file, href: `./${file.split("/").map(encodeURIComponent).join("/")}` });
  return files.flatMap((file) => [one(file), ", "]).slice(0, -1);
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
      const made = tag === "th" || !place ? element("th", "", { scope: tag === "th" ? "col" : "row" }) : element("td");
      if (cell instanceof HTMLTableCellElement) return cell;
      if (cell instanceof Element && cell.matches(".bar")) made.className = "wide";
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
function bar({ value, colour, low, high, signs = {}, title }, most = 100) {
  const made = element("span", "", { class: "bar", title }), at = (number) => `${Math.min(100, Math.max(0, (100 * number) / most))}%`;
  const put = (tag, name, styles) => Object.assign(made.appendChild(element(tag, "", { class: name })).style, styles);
  if (value != null) put("i", "", { width: at(value), background: colour });
  if (low != null) put("span", "whisker", { left: at(low), width: at(high - low) });
  for (const [name, place] of Object.entries(signs)) if (place != null) put("span", name, { left: at(place) });
  return made;
}
function markScrolling() { // tables that go on to the right or below show it
  for (const box of document.querySelectorAll(".scroll")) {
    box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
    box.classList.toggle("down", box.scrollTop + box.clientHeight < box.scrollHeight - 2);
  }
}
