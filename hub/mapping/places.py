"""Coordinates as partners write them: degrees, or the metres and feet of a named coordinate reference system, become (lon, lat)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from hub.geo import Box
from hub.mapping.unfit import Unfit

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
ToDegrees = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Projection:
    """A way from one coordinate reference system to degrees (lon, lat), WGS 84."""

    transformer: Transformer
    area: Box
    crs: str

    def degrees(self, x: float, y: float) -> tuple[float, float]:
        """(lon, lat) of (x to the east, y to the north), in the units of the system. It raises Unfit."""
        lon, lat = self.transformer.transform(x, y)
        if not (isfinite(lon) and isfinite(lat)):
            raise Unfit(f"can't be a place in {self.crs}")
        if not self.area.holds(lon, lat):
            raise Unfit(f"lies outside the area that {self.crs} is made for")
        return lon, lat


@lru_cache(maxsize=16)
def projection(crs: str) -> Projection:
    """The way from `EPSG:…`, by what PROJ holds itself: nothing is fetched.

    Raises:
        ValueError: there is no such system, it is not one of places on a plane or in degrees, or no certain way leads from it.
    """
    try:
        system = CRS.from_user_input(crs)
    except CRSError:
        raise ValueError("is not a coordinate reference system that PROJ knows") from None
    if not (system.is_projected or system.is_geographic) or len(system.axis_info) != 2 or system.area_of_use is None:
        raise ValueError("is not a system of two coordinates, x and y")
    try:
        way = Transformer.from_crs(system, 4326, always_xy=True, allow_ballpark=False)
    except ProjError:
        raise ValueError("can't be converted to WGS 84 with certainty") from None
    return Projection(way, Box(*system.area_of_use.bounds), crs)


def number(text: str, decimal: str) -> float:
    """The number that `text` writes in plain digits, with `decimal` between whole and parts. It raises Unfit."""
    plain = text.replace(",", ".") if decimal == "," and "." not in text else text
    if not _NUMBER.fullmatch(plain) or (decimal == "," and "." in text):
        raise Unfit("is not a number in plain digits")
    return float(plain)
