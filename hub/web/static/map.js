// The analyst's map. Its state is in the address: area, kinds, time, the open incident; a copied link shows it again.

import { bounds, gather } from "./map-cells.js";
import { showDetail } from "./map-detail.js";
import { drawAreas, drawCells, legend } from "./map-draw.js";
import { empty, failed, listCells, listRecords } from "./map-list.js";
import { count, element } from "./map-words.js";

/* global L */
const page = document.getElementById("map-page");
const map = window.map_concord;
const titles = JSON.parse(page.dataset.titles);
const vocabulary = JSON.parse(page.dataset.vocabulary);
const [status, list, detail, busy, filters] = ["map-status", "map-list", "map-detail", "map-busy", "filters"].map((id) => document.getElementById(id));
const layer = L.layerGroup().addTo(map);
const items = "/collections/incidents";
const state = { chosen: null, record: null, answer: null, cells: [], query: null, asking: null };

// ---- the address

function filtersOf(parameters) {
  const [from, until] = (parameters.get("datetime") || "/").split("/").map((end) => (end === ".." ? "" : end.slice(0, 10)));
  return { category: (parameters.get("category") || "").split(",").filter(Boolean), from, until };
}

function question() {
  const asked = new URLSearchParams();
  const area = map.getBounds();
  const four = [Math.max(-180, area.getWest()), Math.max(-90, area.getSouth()), Math.min(180, area.getEast()), Math.min(90, area.getNorth())];
  asked.set("bbox", four.map((n) => n.toFixed(5)).join(","));
  const kinds = [...filters.querySelectorAll("[name=category]:checked")].map((box) => box.value);
  if (kinds.length) asked.set("category", kinds.join(","));
  const { from, until } = filters.elements;
  if (from.value || until.value) asked.set("datetime", `${from.value ? `${from.value}T00:00:00Z` : ".."}/${until.value ? `${until.value}T23:59:59Z` : ".."}`);
  return asked;
}

function remember(push) {
  const shown = new URLSearchParams(question());
  const before = new URLSearchParams(location.search);
  if (before.get("shared")) shown.set("shared", before.get("shared"));
  if (state.record) shown.set("record", state.record);
  const address = `/map?${shown.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%2F", "/")}`;
  if (address !== location.pathname + location.search) history[push ? "pushState" : "replaceState"](null, "", address);
}

// Gives whether the view was set by the address.
function restore() {
  const parameters = new URLSearchParams(location.search);
  const wanted = filtersOf(parameters);
  for (const box of filters.querySelectorAll("[name=category]")) box.checked = wanted.category.includes(box.value);
  filters.elements.from.value = wanted.from || "";
  filters.elements.until.value = wanted.until || "";
  state.record = parameters.get("record");
  const four = (parameters.get("bbox") || "").split(",").map(Number);
  if (four.length !== 4 || four.some(Number.isNaN)) return false;
  map.fitBounds([[four[1], four[0]], [four[3], four[2]]], { animate: false });
  return true;
}

// ---- asking

async function asked(address, signal) {
  const answer = await fetch(address, { headers: { Accept: "application/json" }, signal, credentials: "same-origin" });
  if (answer.ok) return answer.json();
  if (answer.status === 401) {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
    throw new DOMException("signing in", "AbortError");
  }
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail || `The hub answered ${answer.status}.`);
}

async function load(push = false) {
  const query = question().toString();
  remember(push);
  if (query === state.query) return;
  state.query = query;
  state.asking?.abort();
  const asking = (state.asking = new AbortController());
  busy.hidden = false;
  try {
    state.answer = await asked(`${items}/map?${query}`, asking.signal);
    state.chosen = null;
    draw();
    if (state.record) await open(state.record, false);
  } catch (error) {
    if (error.name === "AbortError") return;
    state.query = null;
    status.textContent = "The map could not be loaded.";
    failed(list, error.message, () => load());
  } finally {
    if (state.asking === asking) busy.hidden = true;
  }
}

// ---- showing

function draw() {
  const { answer } = state;
  legend(document.getElementById("legend"), answer, titles);
  if (answer.kind === "counts") drawCounts(answer);
  else drawRecords(answer);
  page.dataset.ready = answer.kind;
}

function drawCounts(answer) {
  const cells = answer.cells.map(([lon, lat, gridM, n]) => ({ key: `${gridM}|${lon}|${lat}`, lon, lat, gridM, count: n }));
  state.cells = [];
  kindCounts([]);
  drawCells(layer, cells, null, (cell) => closer(cell.lon, cell.lat, cell.gridM));
  status.textContent = `${count(answer.total, "incident")}: too many to show one by one, so each cell says how many lie in it. Zoom in or filter for single incidents.`;
  listCells(list, answer.cells, closer);
}

function drawRecords(answer) {
  state.cells = gather(answer.records).map((cell) => ({ ...cell, count: cell.records.length }));
  kindCounts(answer.records);
  showCells();
}

function mark(key) {
  drawCells(layer, state.cells, key, (cell) => {
    state.chosen = cell.key;
    closeDetail();
    showCells();
    list.querySelector("h2")?.focus();
  });
}

function showCells() {
  mark(state.chosen);
  const all = state.cells.reduce((sum, cell) => sum + cell.count, 0);
  status.textContent = all ? `${count(all, "incident")} in this area` : "No incidents in this area";
  if (all) listRecords(list, state.cells, state.chosen, { open: (id) => open(id, true), showAll });
  else empty(list, Boolean(filters.querySelector(":checked") || filters.elements.from.value || filters.elements.until.value), clearFilters);
}

function showAll() {
  state.chosen = null;
  showCells();
  list.querySelector("button")?.focus();
}

function kindCounts(records) {
  const found = new Map();
  for (const record of records) found.set(record[5], (found.get(record[5]) || 0) + 1);
  for (const place of document.querySelectorAll("[data-kind]")) place.textContent = found.has(place.dataset.kind) ? found.get(place.dataset.kind).toLocaleString("en") : "";
}

function closer(lon, lat, gridM) {
  map.fitBounds(bounds(lon, lat, gridM), { padding: [40, 40] });
  map.getContainer().focus();
}

// ---- one incident

async function open(id, push) {
  try {
    const answer = await asked(`${items}/items/${encodeURIComponent(id)}/explain`);
    state.record = id;
    remember(push);
    mark(state.cells.find((cell) => cell.records.some((record) => record.id === id))?.key);
    list.hidden = true;
    detail.hidden = false;
    showDetail(detail, answer, vocabulary, titles, () => {
      closeDetail();
      mark(state.chosen);
      remember(true);
      (list.querySelector(`[data-record="${CSS.escape(id)}"]`) || list.querySelector("button"))?.focus();
    });
    document.querySelector(".map-panel").scrollTop = 0;
  } catch (error) {
    if (error.name === "AbortError") return;
    state.record = null;
    remember(false);
    closeDetail();
    list.prepend(element("p", { class: "note bad", role: "alert" }, error.message));
  }
}

function closeDetail() {
  state.record = null;
  detail.hidden = true;
  list.hidden = false;
}

// ---- what the reader does

function clearFilters() {
  filters.reset();
  for (const box of filters.querySelectorAll(":checked")) box.checked = false;
  load(true);
}

let waiting = 0;
map.on("moveend", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => load(), 250);
});
filters.addEventListener("submit", (event) => {
  event.preventDefault();
  load(true);
});
filters.addEventListener("change", () => load(true));
document.getElementById("clear-filters").addEventListener("click", clearFilters);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !detail.hidden) detail.querySelector("button").click();
});
window.addEventListener("popstate", () => {
  restore();
  if (!state.record) closeDetail();
  state.query = null;
  load();
});
for (const [id, action] of [["share", "/maps"], ["export", "/map/export"]]) {
  const form = document.getElementById(id);
  form?.addEventListener("submit", () => form.setAttribute("action", `${action}?${question()}`));
}

// ---- areas for orientation, then the first look

async function areas(address) {
  const answer = await fetch(address, { headers: { Accept: "application/geo+json, application/json" }, credentials: "same-origin" });
  return answer.ok ? answer.json() : null;
}

function toggle(label, swatch, drawn) {
  const box = element("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => (box.checked ? drawn.addTo(map) : drawn.remove()));
  document.getElementById("layers").append(element("label", { class: "check" }, box, element("span", { class: `swatch ${swatch}`, "aria-hidden": "true" }), element("span", {}, ` ${label}`)));
}

async function begin() {
  const placed = restore();
  const [own, reference] = await Promise.all([areas("/agreements/areas.json").catch(() => null), page.dataset.boundaries ? areas("/boundaries.json").catch(() => null) : null]);
  if (reference) toggle(`Neighbourhoods and districts${reference.approximate ? " (approximate)" : ""}`, "reference", drawAreas(map, reference, { color: "#6b7780", weight: 0.7, fill: false }, true));
  const mine = own?.features.filter((feature) => feature.properties.mou in titles) || [];
  let drawn = null;
  if (mine.length) {
    drawn = drawAreas(map, { type: "FeatureCollection", features: mine }, { color: "#7a3e9d", weight: 2, dashArray: "6 4", fill: false }, false);
    toggle("Areas of your agreements", "area", drawn);
  }
  if (!placed) await firstLook(drawn);
  await load();
}

// Nobody said where to look: at the areas of the agreements, else at wherever there is something.
async function firstLook(drawn) {
  if (drawn) {
    map.fitBounds(drawn.getBounds(), { animate: false, padding: [20, 20] });
    return;
  }
  const answer = await asked(`${items}/map?bbox=-180,-90,180,90`).catch(() => null);
  const points = (answer?.cells || answer?.records?.map((r) => [r[1], r[2]]) || []).map(([lon, lat]) => [lat, lon]);
  if (points.length) map.fitBounds(L.latLngBounds(points), { animate: false, padding: [20, 20], maxZoom: 14 });
}

begin();
