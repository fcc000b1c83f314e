"""What a PDF of the hub shows, read from its bytes."""

import re
import zlib
from collections.abc import Iterator


def text_of(pdf: bytes) -> Iterator[str]:
    """What the pages show: each string of glyph numbers by the map of its font (ISO 32000-1, 9.10.3)."""
    maps = _glyphs(pdf)
    for stream in _streams(pdf):
        if b" Tf" not in stream:
            continue
        font: dict[int, str] = {}
        for name, string in re.findall(rb"/F(\d+) [\d.]+ Tf|\(((?:[^()\\]|\\.)*)\) ?T[jJ]|\[?\(", stream):
            if name:
                font = maps[int(name)]
            elif string:
                raw = re.sub(rb"\\(.)", lambda m: {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(m[1], m[1]), string, flags=re.S)
                yield "".join(font.get(int.from_bytes(raw[n : n + 2], "big"), "") for n in range(0, len(raw), 2))


def _glyphs(pdf: bytes) -> dict[int, dict[int, str]]:
    found = []
    for stream in _streams(pdf):
        if b"beginbfchar" in stream:
            pairs = re.findall(rb"<([0-9A-Fa-f]{4})> <([0-9A-Fa-f]+)>", stream)
            found.append({int(code, 16): bytes.fromhex(text.decode()).decode("utf-16-be") for code, text in pairs})
    return dict(enumerate(found, 1))


def _streams(pdf: bytes) -> Iterator[bytes]:
    for found in re.finditer(rb"stream\n(.*?)\nendstream", pdf, re.S):
        try:
            yield zlib.decompress(found[1])
        except zlib.error:
            yield found[1]
