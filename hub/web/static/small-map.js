// Small maps: the areas of an agreement (data-areas), or one to draw an area on (data-pick and data-polygon, ids of text fields).

/* global L */
const map = window.map_concord;
const COLOURS = ["#7a3e9d", "#0a6a69", "#b3541e", "#1f5fa8", "#8a1c4a", "#4f6f1f"];

async function areas(holder) {
  const answer = await fetch(holder.dataset.areas, { headers: { Accept: "application/geo+json, application/json" }, credentials: "same-origin" });
  if (!answer.ok || answer.redirected) return;
  const collection = await answer.json();
  const colours = new Map();
  const drawn = L.geoJSON(collection, {
    interactive: false,
    style: (feature) => {
      const key = feature.properties.name;
      if (!colours.has(key)) colours.set(key, COLOURS[colours.size % COLOURS.length]);
      return { color: colours.get(key), weight: 2, fillOpacity: 0.18 };
    },
  }).addTo(map);
  drawn.eachLayer((layer) => {
    const name = document.createElement("span");
    name.textContent = layer.feature.properties.name;
    L.tooltip({ permanent: true, direction: "center", className: "area-label" }).setLatLng(layer.getBounds().getCenter()).setContent(name).addTo(map);
  });
  if (collection.features.length) map.fitBounds(drawn.getBounds(), { padding: [24, 24], animate: false });
}

const DRAWN = { color: "#b3541e", weight: 2, fillOpacity: 0.08, interactive: false };
const SAYS = {
  box: "Click two opposite corners of the box on the map. Escape stops drawing.",
  polygon: "Click the corners one after the other, then choose Done. Escape stops drawing.",
  few: "A polygon needs three corners or more.",
};
const within = (value, most) => Math.min(most, Math.max(-most, value)).toFixed(4);
const numbers = (field) => (field.value.trim() ? field.value.split(",").map(Number) : []);

// Two fields, of which a drawing fills one: a box (west,south,east,north) or the corners of a polygon (lon,lat,lon,lat,…).
function pick(holder) {
  const [box, polygon] = [holder.dataset.pick, holder.dataset.polygon].map((id) => document.getElementById(id));
  const controls = holder.parentElement.querySelector("[data-draw]");
  const says = holder.parentElement.querySelector("[data-draw-says]");
  const button = (act) => controls.querySelector(`[data-act="${act}"]`);
  const shown = L.layerGroup().addTo(map);
  let drawing = null; // what is being drawn, and its corners so far
  const corners = [];

  const show = (zoom) => {
    shown.clearLayers();
    const [west, south, east, north] = numbers(box);
    const ring = numbers(polygon);
    if ([west, south, east, north].every(Number.isFinite)) L.rectangle([[south, west], [north, east]], DRAWN).addTo(shown);
    if (ring.length > 5 && ring.length % 2 === 0 && ring.every(Number.isFinite)) L.polygon(pairs(ring), DRAWN).addTo(shown);
    const areas = shown.getLayers();
    if (zoom && areas.length) map.fitBounds(L.featureGroup(areas).getBounds(), { padding: [24, 24], animate: false });
  };
  const sketch = () => {
    shown.clearLayers();
    for (const corner of corners) L.circleMarker(corner, { ...DRAWN, radius: 4 }).addTo(shown);
    if (corners.length > 1) L.polyline(corners, DRAWN).addTo(shown);
  };
  const stop = (said = "") => {
    drawing = null;
    corners.length = 0;
    button("done").hidden = true;
    map.getContainer().classList.remove("drawing");
    says.textContent = said;
    show(false);
  };
  const fill = (boxText, polygonText) => {
    [box.value, polygon.value] = [boxText, polygonText];
    stop();
  };
  const fillBox = (area) => fill([within(area.getWest(), 180), within(area.getSouth(), 90), within(area.getEast(), 180), within(area.getNorth(), 90)].join(","), "");
  const start = (what) => {
    stop(SAYS[what]);
    drawing = what;
    button("done").hidden = what !== "polygon";
    map.getContainer().classList.add("drawing");
  };
  const acts = {
    box: () => start("box"),
    polygon: () => start("polygon"),
    done: () => {
      if (corners.length < 3) says.textContent = SAYS.few;
      else fill("", corners.map((c) => `${within(c.lng, 180)},${within(c.lat, 90)}`).join(","));
    },
    take: () => fillBox(map.getBounds()),
    drop: () => fill("", ""),
  };

  for (const [act, does] of Object.entries(acts)) button(act).addEventListener("click", does);
  map.on("click", (event) => {
    if (!drawing) return;
    corners.push(event.latlng);
    if (drawing === "box" && corners.length === 2) fillBox(L.latLngBounds(corners));
    else sketch();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && drawing) stop();
  });
  for (const field of [box, polygon]) field.addEventListener("change", () => show(true));
  holder.closest("details")?.addEventListener("toggle", () => map.invalidateSize());
  show(true);
}

function pairs(ring) {
  return ring.flatMap((lon, n) => (n % 2 ? [] : [[ring[n + 1], lon]]));
}

for (const holder of document.querySelectorAll("[data-areas]")) areas(holder);
for (const holder of document.querySelectorAll("[data-pick]")) pick(holder);
