"""A map as one file: opens without a network, runs nothing but its own scripts, and can send nothing anywhere.

Scripts and styles stand in the file, each named in its Content-Security-Policy by its hash (CSP Level 3 §2.3.1); what partners
published stands in it as JSON that is not executed, with every `<` written as an escape, so that no text can end the element.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined

from hub.maps.live import live_map
from hub.maps.outlines import TILE
from hub.policy.words import field_words

STATIC = Path(__file__).parents[1] / "web" / "static"
VENDOR = STATIC / "vendor"
STYLES = ("vendor/leaflet/leaflet.css", "site.css", "map.css", "map-snapshot.css")
MODULES = ("map-words.js", "map-cells.js", "map-draw.js", "map-list.js", "map-detail.js", "map-snapshot.js")  # each after what it imports
MAX_SHEETS = 6  # of the basemap; an export that reaches over more of the earth gets the coarse one
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([a-z-]+\.js)";$', re.M)
_EXPORT = re.compile(r"^export (?:async )?(?:function|const|class) (\w+)", re.M)
_ALONE = '(() => {\n"use strict";\nconst modules = {};\n%s\n})();'


@dataclass(frozen=True)
class Export:
    """What the file says about itself. `filters`: name and value of each; `mous`: MOU, version and title of those it was exported under."""

    title: str
    viewer: str
    organisation: str
    purpose: str
    case: str | None
    at: datetime
    filters: list[tuple[str, str]]
    mous: list[tuple[str, int, str]]


def snapshot(about: Export, features: str) -> str:
    """The file, HTML. `features`: a JSON array of GeoJSON features as they were released, places as (lon, lat) in degrees."""
    found: list[dict[str, Any]] = orjson.loads(features)
    held = {
        "features": found,
        "words": {name: field_words(name).removeprefix("the ") for name in sorted({n for f in found for n in f["properties"]})},
    }
    scripts, styles = _scripts(), _styles()
    text: str = _template().render(
        about=about,
        at=f"{about.at.astimezone(UTC):%-d %b %Y, %H:%M} UTC",
        count=len(found),
        labels=_labels(found),
        policy=_policy(scripts, styles),
        scripts=scripts,
        styles=styles,
        map=live_map().body,
        data=_inert(orjson.dumps(held)),
        basemap=_inert(orjson.dumps(_basemap(found))),
    )
    return text


def _policy(scripts: Iterable[str], styles: Iterable[str]) -> str:
    """Everything is forbidden but these scripts and styles, and pictures that stand in the file."""
    ours = {"script-src": " ".join(map(_hash, scripts)), "style-src": " ".join(map(_hash, styles)), "img-src": "data:"}
    shut = dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'")
    return "; ".join(f"{name} {value}" for name, value in {**shut, **ours}.items())


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _inert(json: bytes) -> str:
    """JSON that can stand in a script element of data: `<` is only ever in strings, and has another spelling there (RFC 8259 §7)."""
    return json.decode().replace("<", "\\u003c")


@cache
def _scripts() -> tuple[str, ...]:
    """Leaflet, the map itself, the basemap, our own modules as one script; in this order."""
    own = "\n".join(_module(name, (STATIC / name).read_text()) for name in MODULES)
    texts = ((VENDOR / "leaflet/leaflet.js").read_text(), live_map().script, (STATIC / "basemap.js").read_text(), _ALONE % own)
    if any(re.search(r"</script|<!--", text, re.I) for text in texts):
        raise RuntimeError("a script of the snapshot would end its own element")
    return texts


def _module(name: str, text: str) -> str:
    """A module as a function that gives what it exports: a script in a file can't import another, which would have an address."""
    body = _IMPORT.sub(r'const \1 = modules["\2"];', text)
    if re.search(r"^import ", body, re.M):
        raise RuntimeError(f"{name} imports in a way that the snapshot can't follow")
    given = ", ".join(_EXPORT.findall(body))
    return f'modules["{name}"] = (() => {{\n{re.sub(r"^export ", "", body, flags=re.M)}\nreturn {{ {given} }};\n}})();'


@cache
def _styles() -> tuple[str, ...]:
    """The hub's style; pictures that a style sheet names are left out, no control here needs them."""
    sheets = [(STATIC / name).read_text() for name in STYLES] + [live_map().style]
    return (re.sub(r"url\([^)]*\)", "none", "\n".join(sheets)),)


def _labels(found: list[dict[str, Any]]) -> list[str]:
    """Traffic light labels of the records, the strictest first."""
    order = ("TLP:RED", "TLP:AMBER+STRICT", "TLP:AMBER", "TLP:GREEN", "TLP:CLEAR")
    have = {f["properties"]["handling"] for f in found if f["properties"].get("handling")}
    return sorted(have, key=lambda label: (order.index(label) if label in order else -1, label))


def _basemap(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The sheets of the basemap that the records lie on, and that of the world."""
    names = sorted({f"{lon // TILE * TILE:.0f}_{lat // TILE * TILE:.0f}" for lon, lat in _points(found)})
    names = [name for name in names if (VENDOR / f"basemap/{name}.json").is_file()]
    wanted = ["world", *(names if len(names) <= MAX_SHEETS else ())]
    return {name: orjson.loads((VENDOR / f"basemap/{name}.json").read_bytes()) for name in wanted}


def _points(found: list[dict[str, Any]]) -> Iterator[tuple[float, float]]:
    for feature in found:
        if feature.get("geometry"):
            lon, lat = feature["geometry"]["coordinates"][:2]
            yield lon, lat


@cache
def _template() -> Any:
    made = Environment(loader=PackageLoader("hub.maps"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return made.get_template("snapshot.html")
