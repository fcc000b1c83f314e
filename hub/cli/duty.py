"""`hub duty …`: recalls of what your organisation was given, or of what it gave; what is held; attestations of destruction."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer

from hub.cli.out import console, table
from hub.cli.party import AsParty, party

SOMETHING_OVERDUE = 3  # 1: an error, 2: wrong usage
commands = typer.Typer(no_args_is_help=True, help="Duties: recalls and their answers, what is held, what was destroyed.")
Gave = Annotated[bool, typer.Option("--gave", help="Of your own records, which others hold; without it, what you hold yourself.")]


@commands.command()
def recalls(as_: AsParty, gave: Gave = False, overdue: bool = False, every: Annotated[bool, typer.Option("--all")] = False) -> None:
    """Recalls that wait for an answer; those past their time (--overdue), or all (--all). Exits 3 if one is overdue."""
    state = "overdue" if overdue else "all" if every else "open"
    found = list(_pages(as_, f"/recalls?state={state}&as={_side(gave)}"))
    table(["recall", "kind", "record", "agreement", "recipient" if gave else "provider", "due", "answer"], [_row(r, gave) for r in found])
    raise typer.Exit(SOMETHING_OVERDUE if any(r["overdue"] for r in found) else 0)


@commands.command()
def acknowledge(recall: UUID, answer: Annotated[str, typer.Argument(help="corrected, destroyed or not-held")], as_: AsParty) -> None:
    """Answers a recall: what you did with your copies. Both parties' logs keep it."""
    with party(as_) as client:
        found = client.request("POST", f"/recalls/{recall}/acknowledgement", {"answer": answer}).json()
    console.print(f"Answered: {found['kind']} of {found['record'] or 'all under ' + found['mou']}: {found['answer']}.", markup=False)


@commands.command()
def held(as_: AsParty, gave: Gave = False) -> None:
    """What was given under duties and is not attested to be gone, by agreement; how many of the records should be gone by now."""
    rows = _get(as_, f"/deliveries?as={_side(gave)}")["held"]
    table(
        ["agreement", "recipient" if gave else "provider", "records", "last given", "first to go", "should be gone"],
        [
            [
                h["mou"],
                h["recipient" if gave else "provider"],
                f"{h['records']:,}",
                _day(h["last"]),
                _day(h["retain_until"]),
                f"{h['late']:,}",
            ]
            for h in rows
        ],
    )


@commands.command()
def attest(
    mou: str,
    statement: Annotated[str, typer.Option(help="How it was done, and by whom; the provider reads it.")],
    as_: AsParty,
    until: Annotated[datetime | None, typer.Option(help="Of what was given until then (UTC); of everything so far unless said.")] = None,
) -> None:
    """Attests that what your organisation was given under an agreement is destroyed. Both parties' logs keep it."""
    with party(as_) as client:
        at = (until or datetime.now(UTC)).replace(tzinfo=UTC).isoformat()
        done = client.request("POST", "/attestations", {"mou": mou, "until": at, "statement": statement}).json()
    console.print(f"Attested: {done['records']:,} records of {done['provider']}; {done['recalls']:,} recalls answered by it.", markup=False)


def _pages(profile: str, path: str) -> Iterator[dict[str, Any]]:
    """Every recall, a page after the other."""
    page = _get(profile, path)["recalls"]
    while page:
        yield from page
        page = _get(profile, f"{path}&after={page[-1]['id']}")["recalls"]


def _get(profile: str, path: str) -> Any:
    with party(profile) as client:
        return client.get(path).json()


def _side(gave: bool) -> str:
    return "provider" if gave else "recipient"


def _row(recall: dict[str, Any], gave: bool) -> list[str]:
    due = _day(recall["due"]) + (" (overdue)" if recall["overdue"] else "")
    other = recall["recipient" if gave else "provider"]
    return [recall["id"], recall["kind"], recall["record"] or "all", recall["mou"], other, due, recall["answer"] or ""]


def _day(at: str | None) -> str:
    return at[:10] if at else ""
