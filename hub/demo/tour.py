"""What the demo prints once it is ready: where to sign in as whom, a tour of three minutes, and three commands."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hub.demo import witnesses
from hub.demo.partners import PEOPLE
from hub.demo.publishing import told
from hub.demo.sources import SOURCES
from hub.settings import Settings

QUERY = "bbox=-79.37,43.655,-79.36,43.665&datetime=2019-05-04T00:00:00Z/2019-05-07T00:00:00Z"


def tell(settings: Settings, links: Mapping[str, str]) -> None:
    """Prints it. Lines that begin with `$` are commands."""
    kept = sum(told(settings.state_dir / "demo", source).get("kept", 0) for source in SOURCES)
    lines = [
        "",
        f"Concord serves on {settings.base_url} (Ctrl-C stops it). {kept:,} incidents: open data of two police services; narratives,",
        "names, phones and plates are synthetic. All organisations and people are made up.",
        "",
        *_links(links),
        *_tour(settings),
        *_commands(),
        "",
    ]
    for line in lines:
        print(line, flush=True)


def _links(links: Mapping[str, str]) -> list[str]:
    if not links:
        return []
    width = max(len(role.name) for role in PEOPLE)
    return [
        "Sign in by opening one of these, each good once and for twelve hours (only a demo has such links):",
        *(f"  {role.name:<{width}}  {links[role.handle]}" for role in PEOPLE),
        "",
    ]


def _tour(settings: Settings) -> list[str]:
    base = settings.base_url
    return [
        "A tour of three minutes:",
        "1. Open the link of the analyst of Demo Health, continue, and choose the purpose public-health.prevention.",
        f"2. Open the map ({base}/map). Each square of 500 m says how many incidents lie in it: there are too many to show them one",
        "   by one. Click a square to come closer, then an incident in the list: its time is cut to the hour, its narrative is there,",
        "   its phone number is not, and beside each value stands the agreement that makes it so.",
        "3. Under “Share this map” give the map a name, and copy its address.",
        "4. In a private window open the link of the analyst of Demo Neighbours, choose their purpose, then open that address: other",
        "   kinds of incident, a smaller area, days instead of hours, no narratives.",
        "5. In the private window open the link of the auditor, and the log: both of you are in it, with purpose, agreement and what",
        "   was shown. Press a time to see one access in full.",
        "6. The agreement lead of Demo Toronto Police sees the same about their own records, and what each agreement gives to whom.",
        "",
    ]


def _commands() -> list[str]:
    hub, wanted = _hub(), f"HUB_WITNESS_QUORUM={len(witnesses.NAMES)}"
    return [
        "The same by program, in another terminal, from this folder:",
        "",
        "As a health partner (three kinds of incident downtown, by the hour and 500 m, with narratives): two incidents.",
        f"$ {hub} get --as health '/collections/incidents/items?{QUERY}'",
        "",
        "The same query as a neighbourhood group (burglaries, robberies and thefts, by the day, no narratives): one of them, and another.",
        f"$ {hub} get --as neighbours '/collections/incidents/items?{QUERY}'",
        "",
        "Who saw what:",
        f"$ {hub} audit list --type query",
        "",
        f"Two witnesses, as if two partners ran them, cosign the log; how far they are: {hub} log status",
        f"Verified without the hub, with both of them wanted: {wanted} {hub} audit trust > trust.json",
        f"then {wanted} {hub} audit export --out log.zip and {hub}-verify log.zip --keys trust.json --all",
    ]


def _hub() -> str:
    path = Path(sys.prefix) / "bin" / "hub"
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
