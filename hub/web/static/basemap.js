// The basemap: land, borders and names of places from the hub's own files (hub/maps/basemap.py), drawn on canvas tiles.
// Draws itself on the map `map_concord`. A page that has no network holds the files in an element `basemap`, as JSON.

(() => {
  "use strict";
  const FOLDER = "/assets/vendor/basemap/";
  const WORLD_ZOOM = 6;
  const DEGREES = 10; // of a sheet
  const SIZE = 256; // pixels of a tile
  const SMALL = 9; // places shown from this zoom on are towns and quarters
  const LAND = "#f6f4ee";
  const BORDER = "#b7a9bd";
  const INK = "#44525c";
  const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
  const CREDIT = "© OpenStreetMap contributors, Natural Earth, US Census, GeoNames";

  // ---- positions on the Mercator square: 0…1 from west to east and from north to south

  const across = (lon) => (lon + 180) / 360;
  const down = (lat) => {
    const sine = Math.sin((Math.max(-85.06, Math.min(85.06, lat)) * Math.PI) / 180);
    return 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI);
  };
  const latitude = (y) => (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI;

  // A line as hub/maps/outlines.py writes it, as {points: [x, y, x, y, …], cut: [whether a point lies on a sheet's edge], west, …}.
  function line(text) {
    const points = [];
    const cut = [];
    let at = 0;
    const number = () => {
      let value = 0;
      let shift = 0;
      for (;;) {
        const group = text.charCodeAt(at++) - 63;
        value |= (group & 31) << shift;
        if (group < 32) return (value >> 1) ^ -(value & 1);
        shift += 5;
      }
    };
    let [lon, lat, west, east, north, south] = [0, 0, 1, 0, 1, 0];
    while (at < text.length) {
      lon += number();
      lat += number();
      const [x, y] = [across(lon / 1000), down(lat / 1000)];
      points.push(x, y);
      cut.push(lon % (DEGREES * 1000) === 0 || lat % (DEGREES * 1000) === 0);
      west = Math.min(west, x);
      east = Math.max(east, x);
      north = Math.min(north, y);
      south = Math.max(south, y);
    }
    return { points: Float64Array.from(points), cut, west, east, north, south };
  }

  // ---- sheets, each fetched once

  const held = document.getElementById("basemap");
  const own = held ? JSON.parse(held.textContent) : null;
  const sheets = new Map();

  function sheet(name) {
    if (!sheets.has(name)) sheets.set(name, fetched(name).then((found) => found && opened(found)));
    return sheets.get(name);
  }

  async function fetched(name) {
    if (own) return own[name] ?? null;
    try {
      const answer = await fetch(`${FOLDER}${name}.json`);
      return answer.ok ? await answer.json() : null;
    } catch {
      sheets.delete(name); // to be asked for again
      return null;
    }
  }

  function opened(found) {
    return { land: found.land.map(line), borders: found.borders.map(line), places: found.places, sheets: new Set(found.sheets), labels: new Map() };
  }

  // The sheets that an area of the Mercator square touches, at a zoom.
  async function around(zoom, box) {
    const world = await sheet("world");
    if (!world || zoom <= WORLD_ZOOM) return world ? [world] : [];
    const wanted = [];
    const [first, last] = [box.west, box.east].map((x) => Math.floor((x * 360 - 180) / DEGREES) * DEGREES);
    const [low, high] = [box.south, box.north].map((y) => Math.floor(latitude(y) / DEGREES) * DEGREES);
    for (let west = first; west <= last; west += DEGREES) {
      for (let south = low; south <= high; south += DEGREES) {
        const name = `${((((west + 180) % 360) + 360) % 360) - 180}_${south}`;
        if (world.sheets.has(name)) wanted.push(sheet(name));
      }
    }
    const found = (await Promise.all(wanted)).filter(Boolean);
    return own && !found.length ? [world] : found; // a file holds the sheets of its records only
  }

  // ---- drawing

  function touches(shape, box) {
    return shape.west <= box.east && shape.east >= box.west && shape.north <= box.south && shape.south >= box.north;
  }

  function trace(context, shapes, box, scale, draw) {
    context.beginPath();
    for (const shape of shapes) {
      if (touches(shape, box)) draw(context, shape, (n) => [shape.points[2 * n] * scale - box.left, shape.points[2 * n + 1] * scale - box.top]);
    }
  }

  function straight(context, shape, at) {
    context.moveTo(...at(0));
    for (let n = 1; n < shape.cut.length; n++) context.lineTo(...at(n));
  }

  // Round, as the shore is known to about a kilometre and its corners are the simplification's; sharp where a sheet ends.
  function round(context, shape, at) {
    const count = shape.cut.length;
    let [px, py] = at(count - 1);
    let [x, y] = at(0);
    context.moveTo((px + x) / 2, (py + y) / 2);
    for (let n = 0; n < count; n++) {
      const [nx, ny] = at((n + 1) % count);
      const [mx, my] = [(x + nx) / 2, (y + ny) / 2];
      if (shape.cut[n]) {
        context.lineTo(x, y);
        context.lineTo(mx, my);
      } else context.quadraticCurveTo(x, y, mx, my);
      [x, y] = [nx, ny];
    }
    context.closePath();
  }

  function ground(context, found, box, scale) {
    context.lineJoin = "round";
    for (const one of found) {
      trace(context, one.land, box, scale, round);
      context.fillStyle = context.strokeStyle = LAND;
      context.lineWidth = 1; // hides the seams between sheets
      context.fill("evenodd");
      context.stroke();
    }
    context.strokeStyle = BORDER;
    context.lineWidth = 1.2;
    context.setLineDash([5, 3]);
    for (const one of found) {
      trace(context, one.borders, box, scale, straight);
      context.stroke();
    }
  }

  // The names that fit beside each other at a zoom, those of larger places first: the same for every tile, so that none is cut.
  function labels(one, zoom, context) {
    if (!one.labels.has(zoom)) one.labels.set(zoom, chosen(one.places, zoom, context));
    return one.labels.get(zoom);
  }

  function chosen(places, zoom, context) {
    const scale = SIZE * 2 ** zoom;
    const kept = [];
    for (const [text, lon, lat, from] of places) {
      if (from > zoom) continue;
      const size = from <= 5 || zoom - from >= 4 ? 13 : 11.5;
      context.font = `500 ${size}px ${FONT}`;
      const half = context.measureText(text).width / 2 + 4;
      const label = { text, size, from, x: across(lon) * scale, y: down(lat) * scale, half };
      if (kept.every((other) => Math.abs(other.x - label.x) > other.half + half || Math.abs(other.y - label.y) > 18)) kept.push(label);
    }
    return kept;
  }

  function names(context, found, box, zoom, below) {
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 3;
    for (const { text, size, x, y, half, from } of found.flatMap((one) => labels(one, zoom, context))) {
      if (from >= below) continue;
      const [left, top] = [x - box.left, y - box.top];
      if (left < -half || left > SIZE + half || top < -12 || top > SIZE + 12) continue;
      context.font = `500 ${size}px ${FONT}`;
      context.strokeStyle = "rgb(255 255 255 / 85%)";
      context.strokeText(text, left, top);
      context.fillStyle = INK;
      context.fillText(text, left, top);
    }
  }

  /* global L */
  const Tiles = L.GridLayer.extend({
    createTile({ x, y, z }, done) {
      const tile = document.createElement("canvas");
      const sharp = Math.min(window.devicePixelRatio || 1, 2);
      tile.width = tile.height = SIZE * sharp;
      const context = tile.getContext("2d");
      context.scale(sharp, sharp);
      const scale = SIZE * 2 ** z;
      const margin = this.options.named ? 0.4 : 0.02; // of a tile: names reach over from the next one
      const box = {
        left: x * SIZE, top: y * SIZE, west: ((x - margin) * SIZE) / scale, east: ((x + 1 + margin) * SIZE) / scale,
        north: Math.max(0, ((y - margin) * SIZE) / scale), south: Math.min(1, ((y + 1 + margin) * SIZE) / scale),
      };
      around(z, box).then((found) => {
        if (this.options.named) names(context, found, box, z, this.options.few ? SMALL : Infinity);
        else ground(context, found, box, scale);
        done(null, tile);
      });
      return tile;
    },
  });

  const map = window.map_concord;
  map.attributionControl?.setPrefix(false);
  const pane = map.createPane("names");
  pane.style.zIndex = 450; // above what is drawn on the map, below pop-ups
  pane.style.pointerEvents = "none";
  new Tiles({ attribution: CREDIT, updateWhenZooming: false }).addTo(map);
  const written = new Tiles({ pane: "names", named: true, updateWhenZooming: false }).addTo(map);
  map.on("areanames", ({ shown }) => {
    if (shown === Boolean(written.options.few)) return;
    written.options.few = shown;
    written.redraw();
  });
})();
