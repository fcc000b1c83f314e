"""folium under a Content-Security-Policy without exceptions: a map as parts for a page of ours, nothing inline, nothing remote.

folium writes a whole page with scripts from content delivery networks and code between the tags. Here its links are led to the hub's
own files by their folium names (an unknown one is refused), what no map of ours uses is dropped, and its code becomes a file. The
page and that file are made in different requests, perhaps by different processes, so ids follow from the map and never from chance.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

import folium
from branca.element import CssLink, Element, Figure, JavascriptLink

VENDOR = "/assets/vendor"
# folium's name of a file → ours; None: nothing that we make needs it (jQuery serves folium's pop-ups, which we never use).
LINKS: dict[str, str | None] = {
    "leaflet": f"{VENDOR}/leaflet/leaflet.js",
    "leaflet_css": f"{VENDOR}/leaflet/leaflet.css",
    "jquery": None,
    "bootstrap": None,
    "bootstrap_css": None,
    "glyphicons_css": None,
    "awesome_markers": None,
    "awesome_markers_css": None,
    "awesome_markers_font_css": None,
    "awesome_rotate_css": None,
}
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.S)
_STYLE = re.compile(r"<style>(.*?)</style>", re.S)
_FORBIDDEN = re.compile(r"(?:https?:)?//[a-z0-9-]+\.[a-z]|<script|<style|\son[a-z]+\s*=|\sstyle\s*=|javascript:", re.I)


class NotOurs(RuntimeError):
    """folium asks for a file, or writes something into the page, that the hub's pages must not have."""


@dataclass(frozen=True)
class Parts:
    """A map for a page: addresses of style sheets and scripts, the element to put it in, and folium's own code and style, which belong
    into files of their own.
    """

    styles: tuple[str, ...]
    scripts: tuple[str, ...]
    body: str
    script: str
    style: str


def parts_of(made: folium.Map, name: str) -> Parts:
    """The parts of a map whose element, and whose variable in the script, are called `map_<name>`.

    Raises:
        NotOurs: folium wants something that the hub does not serve itself.
    """
    _name(made, name)
    figure = Figure()
    made.add_to(figure)
    for child in list(figure._children.values()):
        child.render()
    styles, scripts = _links(figure)
    head = figure.header.render()
    body = figure.html.render()
    if found := _FORBIDDEN.search(body):
        raise NotOurs(f"in the page: {found[0]}")
    script = "\n".join([*_SCRIPT.findall(head), figure.script.render()])
    if found := re.search(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", script):
        raise NotOurs(f"in the script: {found[0]}")
    return Parts(tuple(styles), tuple(scripts), body.strip(), script, "\n".join(_STYLE.findall(head)))


def safe_text(value: object) -> str:
    """`value` as text where folium takes markup: pop-ups, tooltips, names of layers. It is put inside a template literal of JavaScript,
    so what ends or opens one is written as an entity too.
    """
    text = escape(str(value), quote=True)
    for mark in "\\`$":
        text = text.replace(mark, f"&#{ord(mark)};")
    return text


def _name(made: folium.Map, name: str) -> None:
    made._name, made._id = "Map", name
    for number, child in enumerate(_below(made)):
        child._id = f"{name}_{number}"


def _below(element: Any) -> Iterator[Any]:
    for child in element._children.values():
        yield child
        yield from _below(child)


def _links(figure: Figure) -> tuple[list[str], list[str]]:
    """The style sheets and scripts of the header, as addresses of ours; they are taken out of it."""
    styles: list[str] = []
    scripts: list[str] = []
    for name, child in list(figure.header._children.items()):
        if not isinstance(child, JavascriptLink | CssLink):
            continue
        if name not in LINKS:
            raise NotOurs(f"{name}: {child.url}")
        del figure.header._children[name]
        if (ours := LINKS[name]) is not None:
            (scripts if isinstance(child, JavascriptLink) else styles).append(ours)
    return styles, scripts


__all__ = ["Element", "NotOurs", "Parts", "parts_of", "safe_text"]
