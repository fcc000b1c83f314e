"""Outlines survive being written small, thinned and cut."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from hub.maps.outlines import TILE, area, decoded, encoded, thinned, tiles

DEGREES = st.tuples(st.integers(-180_000, 180_000), st.integers(-90_000, 90_000))


@given(st.lists(DEGREES, min_size=1, max_size=50))
def test_a_line_reads_as_it_was_written(whole: list[tuple[int, int]]) -> None:
    kept = [point for n, point in enumerate(whole) if n == 0 or point != whole[n - 1]]
    assert decoded(encoded(np.array(whole) / 1000)) == [(x / 1000, y / 1000) for x, y in kept]


def test_the_text_is_printable_and_needs_no_escape_but_one() -> None:
    text = encoded(np.array([(-180.0, -90.0), (180.0, 90.0), (0.0, 0.0)]))
    assert text.isascii()
    assert text.isprintable()
    assert '"' not in text


def test_thinning_stays_within_its_tolerance() -> None:
    angle = np.linspace(0, 2 * np.pi, 500)
    circle = np.c_[np.cos(angle), np.sin(angle)]
    (thin,) = thinned([circle], 0.01)
    assert len(thin) < 60
    assert shapely.hausdorff_distance(shapely.linestrings(circle), shapely.linestrings(thin)) < 0.011


def star(points: int, seed: int) -> np.ndarray:
    """A ring around (3, 2) that turns in and out, up to 35 degrees away."""
    random = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    away = random.uniform(5, 35, points)
    return np.c_[3 + away * np.cos(angle), 2 + away * np.sin(angle)]


@pytest.mark.parametrize("seed", range(5))
def test_the_pieces_of_a_ring_make_up_its_area(seed: int) -> None:
    ring = star(40, seed)
    pieces = list(tiles([ring]))
    closed = [np.r_[piece, piece[:1]] for _, _, piece in pieces]
    assert sum(map(area, closed)) == pytest.approx(area(np.r_[ring, ring[:1]]))
    for west, south, piece in pieces:
        assert (west % TILE, south % TILE) == (0, 0)
        assert (piece >= (west, south)).all()
        assert (piece <= (west + TILE, south + TILE)).all()
