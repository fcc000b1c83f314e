"""Boundary files of an MOU: GeoJSON beside it, pinned by the SHA-256 of their bytes. (lon, lat) in degrees, WGS 84."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape

from hub.errors import InvalidPolicy, Problem
from hub.geo import valid_place
from hub.policy.mou import Jurisdiction, Mou

MAX_BYTES = 20_000_000


def read_boundaries(mou: Mou, folder: Path) -> dict[str, shapely.Geometry]:
    """The shapes of an MOU's jurisdictions, files taken from `folder`.

    Raises:
        InvalidPolicy: a file is missing, is not the pinned one, or holds no valid area.
    """
    return {name: _read(f"jurisdictions.{name}", pinned, folder) for name, pinned in mou.jurisdictions.items()}


def _read(place: str, pinned: Jurisdiction, folder: Path) -> shapely.Geometry:
    path = (folder / pinned.file).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise _refused(f"{place}.file", f"{pinned.file} lies outside the folder of the MOU")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _refused(f"{place}.file", f"{pinned.file} can't be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise _refused(f"{place}.file", f"{pinned.file} is over {MAX_BYTES:,} bytes")
    found = sha256(content).hexdigest()
    if found != pinned.sha256:
        raise _refused(f"{place}.sha256", f"{pinned.file} has changed: its SHA-256 is {found}, the MOU pins {pinned.sha256}")
    return area_of(f"{place}.file", content)


def area_of(place: str, content: bytes) -> shapely.Geometry:
    """The area of a boundary file; `place` names it in an error.

    Raises:
        InvalidPolicy: it is no valid Polygon or MultiPolygon.
    """
    try:
        area = shape(_geometry(place, orjson.loads(content)))
    except (orjson.JSONDecodeError, ValueError, TypeError, KeyError, IndexError, AttributeError, ShapelyError) as error:
        raise _refused(place, f"is not GeoJSON: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None
    if area.geom_type not in ("Polygon", "MultiPolygon") or area.is_empty:
        raise _refused(place, f"must be a Polygon or MultiPolygon, not {'an empty one' if area.is_empty else area.geom_type}")
    if not all(valid_place(lon, lat) for lon, lat in shapely.get_coordinates(area)):
        raise _refused(place, "has a corner that is not longitude, latitude in degrees")
    if not area.is_valid:
        raise _refused(place, f"is not a valid area: {shapely.is_valid_reason(area)}")
    return shapely.force_2d(area)


def _geometry(place: str, data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("no object")
    if data.get("type") == "FeatureCollection":
        features = data["features"]
        if len(features) != 1:
            raise _refused(place, f"must hold one feature, it has {len(features)}")
        data = features[0]
    geometry = data["geometry"] if data.get("type") == "Feature" else data
    if not isinstance(geometry, dict):
        raise ValueError("no geometry")
    return geometry


def _refused(place: str, reason: str) -> InvalidPolicy:
    return InvalidPolicy(f"{place}: {reason}", problems=[Problem(place, reason)])
