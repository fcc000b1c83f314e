// One incident: each field, how it is shown and under which clause; what is withheld, and why.

import { element, plain, titled, when } from "./map-words.js";

export function showDetail(into, answer, vocabulary, titles, back) {
  const properties = answer.feature.properties;
  const shown = answer.fields.filter((f) => f.treatment !== "withhold");
  const withheld = answer.fields.filter((f) => f.treatment === "withhold");
  const heading = element("h2", { tabindex: "-1" }, plain(properties.category));
  const under = [...new Set(answer.mous.map((m) => m.mou))];
  into.replaceChildren(
    element("p", { class: "actions" }, element("button", { type: "button", class: "small second", onclick: back }, "Back to the list")),
    heading,
    element("p", { class: "small soft" }, "Shared by ", properties.provider, " under ", ...links(under, titles)),
    element("dl", { class: "values" }, ...shown.map((field) => entry(field, answer.feature, vocabulary))),
    ...why(withheld, vocabulary),
    element("p", { class: "small soft" }, "Record ", element("code", {}, answer.feature.id)),
  );
  heading.focus();
}

function entry(field, feature, vocabulary) {
  const said = vocabulary[field.name] || { words: field.name, ways: {} };
  const how = said.ways[field.treatment] || field.treatment;
  const mous = [...new Set(field.under.map((u) => u.mou))];
  return element(
    "div",
    {},
    element("dt", {}, said.words.replace(/^the /, "")),
    element("dd", {}, value(field, feature)),
    element("dd", { class: "how" }, `Shown ${how} (`, ...links(mous, {}), ")"),
  );
}

export function value(field, feature) {
  if (field.name === "place") {
    const point = feature.geometry?.coordinates;
    return point ? `${point[1].toFixed(5)}, ${point[0].toFixed(5)} (lat, lon)` : "none";
  }
  const found = feature.properties[field.name];
  if (found == null) return "not recorded";
  if (field.name.endsWith("_at") || field.name.endsWith("_until")) return when(found, feature.properties[`${field.name}_round_to`]);
  if (field.name === "category") return plain(found);
  const bands = feature.properties[`${field.name}_bands`];
  if (bands) return band(found, bands[bands.indexOf(found) + 1]);
  return tree(found);
}

function band(low, next) {
  if (next === undefined) return `${low} or more`;
  return next === low + 1 ? `${low}` : `${low} to ${next - 1}`;
}

// Lists and objects of partners' own making, as nested lists of text: keys as they are spelt, each text isolated from what stands
// beside it, which it could otherwise turn round (U+202E).
function tree(found) {
  if (Array.isArray(found)) return element("ul", {}, ...found.map((one) => element("li", {}, tree(one))));
  if (found !== null && typeof found === "object") {
    return element("ul", {}, ...Object.entries(found).map(([key, one]) => element("li", {}, element("bdi", {}, key), ": ", tree(one))));
  }
  return element("bdi", {}, String(found));
}

function links(mous, titles) {
  return mous.flatMap((mou, n) => [n ? " and " : null, element("a", { href: `/agreements/${encodeURIComponent(mou)}` }, titled(titles, mou))]);
}

function why(withheld, vocabulary) {
  if (!withheld.length) return [];
  const refused = withheld.filter((field) => field.refused);
  const unlisted = withheld.filter((field) => !field.refused);
  const mous = [...new Set(refused.flatMap((field) => field.refused.map((r) => r.mou)))];
  return [
    element("h3", {}, "Not shown to you"),
    unlisted.length ? element("p", { class: "small" }, `No agreement that shares this incident with you for your purpose releases ${either(unlisted, vocabulary)}. What an agreement doesn't list is withheld; its page says what you could ask for.`) : null,
    refused.length ? element("p", { class: "small" }, `Whatever else is agreed, you are never shown ${either(refused, vocabulary)} of such an incident: `, ...links(mous, {}), " refuses it.") : null,
  ].filter(Boolean);
}

function either(fields, vocabulary) {
  const names = fields.map((field) => (vocabulary[field.name] || { words: field.name }).words);
  const last = names.pop();
  return names.length ? `${names.join(", ")} or ${last}` : last;
}
