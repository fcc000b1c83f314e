// Words for what the map shows. Everything that came from a partner goes into the page as text, never as markup.

export const METRES = { 100: "100 m", 500: "500 m", 2000: "2 km" };
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

export function plain(category) {
  return category ? category.replaceAll("-", " ") : "kind not shown";
}

// A time as precisely as it is released: a day, an hour, or a minute. UTC.
export function when(at, rounding) {
  if (!at) return "time not shown";
  const d = new Date(at);
  if (Number.isNaN(d.valueOf())) return String(at);
  const day = `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]} ${d.getUTCFullYear()}`;
  if (rounding === "P1D") return day;
  const two = (n) => String(n).padStart(2, "0");
  if (rounding === "PT1H") return `${day}, ${two(d.getUTCHours())}:00 to ${two((d.getUTCHours() + 1) % 24)}:00 UTC`;
  return `${day}, ${two(d.getUTCHours())}:${two(d.getUTCMinutes())} UTC`;
}

// An element with attributes and children; a child that is a string becomes text.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

export function titled(titles, mou) {
  return titles[mou] ? `${mou}, ${titles[mou]}` : mou;
}
