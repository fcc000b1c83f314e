"""The maps of pages: empty ones, made by folium. What is drawn on them our scripts fetch as JSON, as the signed-in reader."""

from dataclasses import replace
from functools import cache

import folium

from hub.maps.figure import Parts, parts_of

NAME = "concord"
MAX_ZOOM = 17  # about a metre a pixel: more would promise an exactness that no cell has
# Leaflet moves smoothly unless told not to (WCAG 2.2, 2.3.3), and has to be told before there is a map.
STILL = """if (window.matchMedia("(prefers-reduced-motion: reduce)").matches)
  L.Map.mergeOptions({zoomAnimation: false, fadeAnimation: false, markerZoomAnimation: false, inertia: false});
"""


@cache
def live_map() -> Parts:
    """A map without records. Its element is `map_concord`, and so is the variable that our scripts find it by. The scripts of `Parts`
    come before the map's own (`script`); the basemap's (hub/web/static/basemap.js), and ours, after it.
    """
    made = folium.Map(
        location=[25, 0], zoom_start=2, tiles=None, control_scale=True, prefer_canvas=True, maxZoom=MAX_ZOOM, minZoom=2,
        worldCopyJump=True, maxBoundsViscosity=1.0,
    )  # fmt: skip
    made_of = parts_of(made, NAME)
    # folium also styles whole pages, for maps that are one; ours have a frame.
    style = "\n".join(block for block in made_of.style.split("}") if f"#map_{NAME}" in block)
    return replace(made_of, script=STILL + made_of.script, style=f"{style}}}" if style else "")
