// Small maps: the areas of an agreement (data-areas), or one to choose an area with (data-pick, the id of a text field).

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

function pick(holder) {
  const field = document.getElementById(holder.dataset.pick);
  const shown = L.rectangle([[0, 0], [0, 0]], { color: "#b3541e", weight: 2, fillOpacity: 0.08, interactive: false });
  const show = (zoom) => {
    const [west, south, east, north] = field.value.split(",").map(Number);
    if ([west, south, east, north].every(Number.isFinite) && field.value) {
      shown.setBounds([[south, west], [north, east]]).addTo(map);
      if (zoom) map.fitBounds(shown.getBounds(), { padding: [24, 24], animate: false });
    } else shown.remove();
  };
  document.querySelector(`[data-take="${field.id}"]`).addEventListener("click", () => {
    const area = map.getBounds();
    field.value = [Math.max(-180, area.getWest()), Math.max(-90, area.getSouth()), Math.min(180, area.getEast()), Math.min(90, area.getNorth())].map((n) => n.toFixed(4)).join(",");
    show(false);
  });
  document.querySelector(`[data-drop="${field.id}"]`).addEventListener("click", () => {
    field.value = "";
    show(false);
  });
  field.addEventListener("change", () => show(true));
  holder.closest("details")?.addEventListener("toggle", () => map.invalidateSize());
  show(true);
}

for (const holder of document.querySelectorAll("[data-areas]")) areas(holder);
for (const holder of document.querySelectorAll("[data-pick]")) pick(holder);
