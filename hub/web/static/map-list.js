// The list beside the map: the same incidents for who doesn't use a map. Arrow keys go from one to the next.

import { METRES, count, element, plain, when } from "./map-words.js";

const STEP = window.matchMedia("(max-width: 44rem)").matches ? 25 : 100;

export function listRecords(into, cells, chosen, { open, showAll }) {
  const here = chosen ? cells.filter((cell) => cell.key === chosen) : cells;
  const records = here.flatMap((cell) => cell.records).sort((a, b) => (b.at || "").localeCompare(a.at || "") || a.id.localeCompare(b.id));
  into.replaceChildren();
  if (chosen && here.length) {
    into.append(
      element("h2", { tabindex: "-1" }, `${count(records.length, "incident")} ${here[0].gridM ? `in this ${METRES[here[0].gridM]} cell` : "at this place"}`),
      element("p", { class: "actions" }, element("button", { type: "button", class: "small second", onclick: showAll }, "Show all in the area")),
    );
  }
  const list = element("ol", { class: "records", "aria-label": "Incidents, newest first" });
  list.addEventListener("keydown", walk);
  into.append(list);
  more(into, list, records, 0, open);
  return records.length;
}

function more(into, list, records, from, open) {
  const part = records.slice(from, from + STEP);
  list.append(...part.map((record) => row(record, open)));
  if (from + STEP >= records.length) return;
  const left = records.length - from - STEP;
  const button = element("button", { type: "button", class: "second small" }, `Show ${Math.min(STEP, left)} more of ${left.toLocaleString("en")}`);
  button.addEventListener("click", () => {
    const last = list.lastElementChild;
    button.remove();
    more(into, list, records, from + STEP, open);
    last.nextElementSibling.querySelector("button").focus();
  });
  into.append(button);
}

function row(record, open) {
  const where = record.gridM ? `Somewhere in a ${METRES[record.gridM]} cell` : "The exact place"; // that one in an exported file only
  const button = element(
    "button",
    { type: "button", "data-record": record.id, onclick: () => open(record.id) },
    element("strong", {}, plain(record.category)),
    element("span", { class: "where" }, `${when(record.at, record.rounding)} · ${where}`),
  );
  return element("li", {}, button);
}

function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const item = event.target.closest("li");
  if (!step || !item) return;
  const next = step > 0 ? item.nextElementSibling : item.previousElementSibling;
  next?.querySelector("button")?.focus();
  event.preventDefault();
}

// Counts: the fullest cells, each with a way to look closer.
export function listCells(into, cells, closer) {
  const fullest = [...cells].sort((a, b) => b[3] - a[3]).slice(0, STEP);
  const rows = fullest.map(([lon, lat, gridM, n]) => {
    const button = element(
      "button",
      { type: "button", onclick: () => closer(lon, lat, gridM) },
      element("strong", {}, count(n, "incident")),
      element("span", { class: "where" }, `${METRES[gridM]} cell around ${lat.toFixed(3)}, ${lon.toFixed(3)} (lat, lon) · look closer`),
    );
    return element("li", {}, button);
  });
  const list = element("ol", { class: "records", "aria-label": "Cells, fullest first" }, ...rows);
  list.addEventListener("keydown", walk);
  into.replaceChildren(element("h2", {}, "The fullest cells"), list);
}

export function empty(into, filtered, clear) {
  const hints = ["It may lie outside the area or the period that your agreements cover, or nothing was reported there."];
  if (filtered) hints.unshift("Your filters may leave nothing over.");
  into.replaceChildren(
    element(
      "div",
      { class: "empty" },
      element("p", {}, "No incident is shared with you here."),
      ...hints.map((text) => element("p", { class: "small" }, text)),
      filtered ? element("p", {}, element("button", { type: "button", class: "small second", onclick: clear }, "Clear the filters")) : null,
      element("p", { class: "small" }, element("a", { href: "/agreements" }, "What your agreements share")),
    ),
  );
}

export function failed(into, sentence, retry) {
  into.replaceChildren(
    element("div", { class: "note bad" }, element("p", {}, sentence), element("p", {}, element("button", { type: "button", class: "small second", onclick: retry }, "Try again"))),
  );
}
