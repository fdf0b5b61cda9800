// The basemap: images of the real place, asked for from the network only while its panel is shown.
function transformed({ centre, half, weights }, [x, y]) {
  const u = (x - centre[0]) / half[0], v = (y - centre[1]) / half[1];
  return weights.map(([one, ...of]) => [u, v, u * u, u * v, v * v].reduce((sum, term, k) => sum + of[k] * term, one));
}
function showBasemap() {
  const view = maps.views[shown];
  if (byId("panel-basemap").hidden || !view.tiles || !frame().width) return;
  const corners = [x().start, x().end].flatMap((east) => [y().start, y().end].map((north) => transformed(view.tiles.there, [east, north])));
  const [columns, lines] = [0, 1].map((axis) => corners.map((corner) => corner[axis]));
  const span = Math.max(...columns) - Math.min(...columns);
  const zoom = Math.max(0, Math.min(data.basemap.deepest, Math.round(Math.log2(frame().width / 256 / span)))), count = 2 ** zoom;
  const range = (values) => {
    const first = Math.max(0, Math.floor(Math.min(...values) * count)), last = Math.min(count - 1, Math.floor(Math.max(...values) * count));
    return Array.from({ length: last - first + 1 }, (_, k) => first + k);
  };
  model("basemap-source").data = pictures(range(columns).flatMap((column) => range(lines).map((line) => {
    const at = (right, down) => transformed(view.tiles.back, [(column + right) / count, (line + down) / count]);
    const [[left, top], [right, slope], [below, bottom], [middle, level]] = [at(0, 0), at(1, 0), at(0, 1), at(0.5, 0.5)];
    const width = Math.hypot(right - left, slope - top), height = Math.hypot(below - left, bottom - top);
    const url = data.basemap.url.replace("{z}", zoom).replace("{y}", line).replace("{x}", column);
    return { url, extent: [middle - width / 2, level - height / 2, middle + width / 2, level + height / 2], angle: Math.atan2(slope - top, right - left) };
  })));
}
