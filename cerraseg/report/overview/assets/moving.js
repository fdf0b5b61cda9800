// Panning and zooming of all map panels at once, by keys and buttons, the scale bar, and the sizes of figures.
const x = () => model("map-x"), y = () => model("map-y");
function frame() {
  const panel = PANELS.find((name) => !byId(`panel-${name}`).hidden) ?? "prediction";
  return { width: model(`map-${panel}`).inner_width, height: model(`map-${panel}`).inner_height };
}
function move(centreX, centreY, spanY) {
  const { width, height } = frame();
  const spanX = (spanY * width) / height / maps.views[shown].stretch;
  y().setv({ start: centreY - spanY / 2, end: centreY + spanY / 2 });
  x().setv({ start: centreX - spanX / 2, end: centreX + spanX / 2 });
}
function zoomed(factor) {
  move((x().start + x().end) / 2, (y().start + y().end) / 2, (y().end - y().start) * factor);
}
function panned(right, up) {
  const [stepX, stepY] = [(x().end - x().start) * right * 0.1, (y().end - y().start) * up * 0.1];
  x().setv({ start: x().start + stepX, end: x().end + stepX });
  y().setv({ start: y().start + stepY, end: y().end + stepY });
}
function whole() {
  const { width, height } = frame();
  if (!width || !height) return;
  const [left, bottom, right, top] = maps.views[shown].extent;
  move((left + right) / 2, (bottom + top) / 2, Math.max(top - bottom, ((right - left) * maps.views[shown].stretch * height) / width));
  home = [x().start, x().end, y().start, y().end];
}
function resized() {
  if (shown == null || !frame().width || !frame().height) return;
  const untouched = !home || [x().start, x().end, y().start, y().end].every((value, place) => value === home[place]);
  untouched ? whole() : zoomed(1);
}
function moved() {
  const { metres } = maps.views[shown], perPixel = (metres * (x().end - x().start)) / frame().width, most = 120 * perPixel;
  const decade = 10 ** Math.floor(Math.log10(most)), length = decade * [5, 2, 1].find((digit) => digit * decade <= most);
  for (const scale of document.querySelectorAll(".scale")) {
    scale.hidden = !Number.isFinite(length);
    scale.textContent = length < 1000 ? `${length} m` : `${length / 1000} km`;
    scale.style.width = `${length / perPixel}px`;
  }
  showBasemap();
}
const KEYS = {
  ArrowLeft: () => panned(-1, 0), ArrowRight: () => panned(1, 0), ArrowUp: () => panned(0, 1), ArrowDown: () => panned(0, -1),
  "+": () => zoomed(0.8), "=": () => zoomed(0.8), "-": () => zoomed(1.25), 0: whole,
};
function layout() {
  markScrolling();
  if (shown == null) return;
  const { extent: [left, bottom, right, top], stretch } = maps.views[shown];
  const width = PANELS.map((name) => byId(`panel-${name}`).clientWidth).find(Boolean);
  const height = (width * (top - bottom)) / ((right - left) * stretch);
  for (const name of PANELS)
    model(`map-${name}`).height = Math.round(Math.min(Math.max(height, 240), Math.max(380, innerHeight - 210)));
}
function viewer() {
  byId("ramp").append("0 % ", ...paletteOf("confidence").map((colour) => {
    const block = element("i");
    block.style.background = colour;
    return block;
  }), " 100 %");
  byId("view").addEventListener("change", (event) => chooseView(Number(event.target.value)));
  byId("zoom-in").addEventListener("click", () => zoomed(0.8));
  byId("zoom-out").addEventListener("click", () => zoomed(1.25));
  byId("whole").addEventListener("click", whole);
  for (const button of byId("panels").children) {
    if (narrow.matches && !["image", "prediction"].includes(button.dataset.panel)) button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") === "false"));
      showPanels();
      layout();
      requestAnimationFrame(moved);
    });
  }
  const box = byId("viewer");
  box.addEventListener("keydown", (event) => {
    if (event.target !== box || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  box.addEventListener("pointerdown", (event) => event.target.closest("figure") && box.focus({ preventScroll: true }));
  let waiting = 0;
  const later = () => { clearTimeout(waiting); waiting = setTimeout(moved, 60); };
  for (const range of [x(), y()]) range.change.connect(later);
  for (const name of PANELS) for (const side of ["inner_width", "inner_height"])
    model(`map-${name}`).properties[side].change.connect(() => requestAnimationFrame(resized));
}
