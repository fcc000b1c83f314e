"""The templates: Jinja2, everything escaped, an unknown name an error; and the words they share."""

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from hub import __version__

STATIC = Path(__file__).parent / "static"
ROLE_WORDS = {
    "integrator": "integrator",
    "analyst": "analyst",
    "auditor": "auditor",
    "agreement-lead": "agreement lead",
    "operator": "operator",
}


@cache
def asset(name: str) -> str:
    """The address of a static file; it changes with the content, so that browsers may keep it."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/assets/{name}?v={digest}"


def when(at: datetime | None) -> str:
    """A time in words, UTC: 24 Nov 2026, 03:40 UTC."""
    return f"{at.astimezone(UTC):%-d %b %Y, %H:%M} UTC" if at else "never"


def count(number: int, one: str, many: str | None = None) -> str:
    """1 incident, 1,234 incidents."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _environment() -> Environment:
    made = Environment(loader=PackageLoader("hub.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.globals.update(asset=asset, version=__version__)
    made.filters.update(when=when, count=count, role=lambda word: ROLE_WORDS[word])
    return made


TEMPLATES = _environment()
