// A map exported as one file: draws the records that it holds. Asks nobody anything.

import { CLASSES, gather } from "./map-cells.js";
import { value } from "./map-detail.js";
import { drawCells } from "./map-draw.js";
import { listRecords } from "./map-list.js";
import { METRES, count, element, plain } from "./map-words.js";

/* global L */
const held = JSON.parse(document.getElementById("data").textContent);
const map = window.map_concord;
const layer = L.layerGroup().addTo(map);
const [status, list, detail] = ["map-status", "map-list", "map-detail"].map((id) => document.getElementById(id));
const known = new Map(held.features.map((feature) => [feature.id, feature]));
// An exact place is drawn as one: this file may hold it.
const cells = gather(held.features.map(row)).map((cell) => ({ ...cell, count: cell.records.length }));
let chosen = null;

function row({ id, geometry, properties: p }) {
  const [lon, lat] = geometry.coordinates;
  return [id, lon, lat, p.place_grid_m ?? 0, 0, p.category ?? null, p.occurred_at ?? null, p.occurred_at_round_to ?? null];
}

function show() {
  drawCells(layer, cells, chosen, (cell) => {
    chosen = cell.key;
    close();
    show();
    list.querySelector("h2")?.focus();
  });
  status.textContent = count(held.features.length, "incident");
  listRecords(list, cells, chosen, {
    open,
    showAll: () => {
      chosen = null;
      show();
      list.querySelector("button")?.focus();
    },
  });
}

function open(id) {
  const { properties, geometry } = known.get(id);
  const said = Object.keys(properties).filter((name) => !/_(grid_m|round_to|bands|last)$/.test(name));
  const grid = properties.place_grid_m;
  const heading = element("h2", { tabindex: "-1" }, plain(properties.category));
  detail.replaceChildren(
    element("p", { class: "actions" }, element("button", { type: "button", class: "small second", onclick: () => back(id) }, "Back to the list")),
    heading,
    element(
      "dl",
      { class: "values" },
      entry("place", value({ name: "place" }, { geometry, properties }), grid ? `The centre of the ${METRES[grid]} cell it lies in` : "The exact place"),
      ...said.map((name) => entry(held.words[name] ?? name, value({ name }, { geometry, properties }))),
    ),
    element("p", { class: "small soft" }, "Record ", element("code", {}, id)),
  );
  list.hidden = true;
  detail.hidden = false;
  heading.focus();
}

function entry(words, found, how) {
  return element("div", {}, element("dt", {}, words), element("dd", {}, found), how ? element("dd", { class: "how" }, how) : null);
}

function close() {
  detail.hidden = true;
  list.hidden = false;
}

function back(id) {
  close();
  (list.querySelector(`[data-record="${CSS.escape(id)}"]`) || list.querySelector("button"))?.focus();
}

function explainColours() {
  const sizes = [...new Set(cells.map((cell) => cell.gridM))].sort((a, b) => a - b);
  const exactly = sizes.map((m) => (m ? `to ${METRES[m]}` : "exactly")).join(", ");
  const rows = CLASSES.map((c, n) => element("div", { class: "legend-row" }, element("span", { class: `swatch c${n + 1}`, "aria-hidden": "true" }), element("span", {}, c.words)));
  document.getElementById("legend").append(
    ...(sizes.length ? [element("p", { class: "small" }, `Places are shown ${exactly}. A square is as large as what is known of the place.`)] : []),
    element("p", { class: "small" }, "Incidents in a cell:"),
    ...rows,
  );
}

show();
explainColours();
if (cells.length) map.fitBounds(L.latLngBounds(cells.map((cell) => [cell.lat, cell.lon])), { animate: false, padding: [30, 30], maxZoom: 14 });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !detail.hidden) detail.querySelector("button").click();
});
