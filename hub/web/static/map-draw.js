// Drawing: cells as large as what is known of a place, never a pin that pretends to know more. One canvas for all of them.

import { CLASSES, bounds, fillOf } from "./map-cells.js";
import { METRES, element, titled } from "./map-words.js";

/* global L */
const renderer = L.canvas({ padding: 0.3 });
const STROKE = { color: "#33505f", weight: 0.6, fillOpacity: 0.72 };

export function drawCells(layer, cells, chosen, choose) {
  layer.clearLayers();
  let top = null;
  for (const cell of cells) {
    const style = { ...STROKE, fillColor: fillOf(cell.count), renderer };
    if (cell.key === chosen) Object.assign(style, { color: "#d95f02", weight: 3 });
    const drawn = cell.gridM <= 100 ? L.circleMarker([cell.lat, cell.lon], { ...style, radius: cell.count > 1 ? 7 : 5 }) : L.rectangle(bounds(cell.lon, cell.lat, cell.gridM), style);
    drawn.on("click", () => choose(cell));
    layer.addLayer(drawn);
    if (cell.key === chosen) top = drawn;
  }
  top?.bringToFront();
}

// Of names that would lie on each other the first is shown; closer, the others are too.
function spread(map, labels) {
  const kept = [];
  labels.eachLayer((label) => {
    const shown = label.getElement();
    shown.hidden = false; // to be measured
    const { x, y } = map.latLngToLayerPoint(label.getLatLng());
    const [width, height] = [shown.offsetWidth, shown.offsetHeight];
    shown.hidden = kept.some((other) => Math.abs(other.x - x) < (other.width + width) / 2 && Math.abs(other.y - y) < (other.height + height) / 2);
    if (!shown.hidden) kept.push({ x, y, width, height });
  });
}

export function drawAreas(map, collection, style, labelled) {
  const drawn = L.geoJSON(collection, { interactive: false, style });
  drawn.addTo(map);
  if (!labelled) return drawn;
  const labels = L.layerGroup();
  drawn.eachLayer((layer) => {
    const name = document.createElement("span");
    name.textContent = layer.feature.properties?.name ?? "";
    labels.addLayer(L.tooltip({ permanent: true, direction: "center", className: "area-label", interactive: false }).setLatLng(layer.getBounds().getCenter()).setContent(name));
  });
  const show = () => {
    const shown = map.getZoom() >= 13 && map.hasLayer(drawn);
    if (shown) spread(map, labels.addTo(map));
    else labels.remove();
    map.fire("areanames", { shown }); // the basemap leaves its own small names out
  };
  map.on("zoomend", show);
  drawn.on("add remove", show);
  show();
  return drawn;
}

export function legend(into, answer, titles) {
  const rows = (answer.under || []).map((under) => {
    const exact = under.grid_m === 0;
    const how = exact ? "To the exact place when an incident is opened; here to 100 m" : `To ${METRES[under.grid_m]}`;
    const dot = exact || under.grid_m === 100 ? " dot" : "";
    return element("div", { class: "legend-row" }, element("span", { class: `swatch c2${dot}`, "aria-hidden": "true" }), element("span", {}, `${how}, under `, element("a", { href: `/agreements/${encodeURIComponent(under.mou)}` }, titled(titles, under.mou))));
  });
  const classes = CLASSES.map((c, n) => element("div", { class: "legend-row" }, element("span", { class: `swatch c${n + 1}`, "aria-hidden": "true" }), element("span", {}, c.words)));
  into.replaceChildren(
    ...(rows.length ? [element("p", { class: "small" }, "How exactly places are shown:"), ...rows] : []),
    element("p", { class: "small" }, "Incidents in a cell:"),
    ...classes,
  );
}
