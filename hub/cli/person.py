"""`hub person …`: who may sign in, and as what. Each change is in the log before it is told; the log holds ids, never names."""

import os
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer
from rich.markup import escape
from rich.table import Table

from hub import db
from hub.audit.leaf import By, Event, event_id
from hub.audit.log import Log
from hub.cli.opened import opened
from hub.cli.out import console
from hub.errors import Conflict, InvalidRequest
from hub.identity import organisations, passkeys, people, tickets
from hub.identity.people import Person
from hub.settings import read_settings

INVITED_FOR = timedelta(days=7)

commands = typer.Typer(no_args_is_help=True, help="People: invited by the operator, signed in with a passkey.")
Role = Annotated[list[str] | None, typer.Option(help=f"{', '.join(people.ROLES)}; may be repeated.")]


@commands.command()
def invite(
    organisation: str,
    handle: Annotated[str, typer.Argument(help="A name for operators: lower-case letters, digits and . _ @ + -, such as an address.")],
    name: Annotated[str | None, typer.Option(help="How pages call this person. Only for somebody new.")] = None,
    role: Role = None,
    again: Annotated[bool, typer.Option(help="For lost devices: voids passkeys, recovery codes and sessions, then invites anew.")] = False,
) -> None:
    """Prints an address, once and good for 7 days, at which a person makes their passkey."""
    now = datetime.now(UTC)
    with opened() as database:
        known = people.find(database.writer, handle)
        if known is None:
            person = people.add(database.writer, organisation, handle, name or "", role or ())
        else:
            person = known
            _check_known(database, known, organisation, now, more=bool(name or role), again=again)
            if again:
                people.revoke(database.writer, known.id, now)
        _record(database, "invite", person.id, person.roles)
        token = tickets.issue(database.writer, person.id, "invitation", now, INVITED_FOR)
    until = f"{now + INVITED_FOR:%Y-%m-%d %H:%M} UTC"
    console.print(f"{handle} of {person.organisation.slug} is invited, as {', '.join(sorted(person.roles))}.", markup=False)
    console.print(f"Give them this address over a channel you trust; it works once, until {until}:")
    print(f"{read_settings().base_url}/join/{token}")


@commands.command()
def disable(handle: str) -> None:
    """Ends a person's access for good: sessions end at once, invitations are void."""
    with opened() as database:
        # First of all the way in is shut: a log that can't be written must not keep it open.
        person = people.disable(database.writer, handle, datetime.now(UTC))
        _record(database, "disable", person.id, person.roles)
    console.print(f"Disabled {handle}.", markup=False)


@commands.command()
def roles(handle: str, role: Role = None) -> None:
    """Replaces a person's roles; takes effect with their next request."""
    with opened() as database:
        person = people.get(database.writer, handle)
        wanted = people.check_roles(person.organisation, role or ())
        _record(database, "roles", person.id, wanted)
        people.set_roles(database.writer, handle, wanted)
    console.print(f"{handle} is {', '.join(sorted(wanted))} now.", markup=False)


@commands.command("list")
def list_people(organisation: Annotated[str | None, typer.Argument(help="Of one organisation.")] = None) -> None:
    """The people, with their roles and how many passkeys they have."""
    now = datetime.now(UTC)
    with opened() as database:
        if organisation is not None:
            organisations.get(database.writer, organisation)
        found = people.all_of(database.writer, organisation)
        lines = [(p, "disabled" if p.disabled(now) else str(len(passkeys.passkeys_of(database.writer, p.id)))) for p in found]
    table = Table("handle", "organisation", "roles", "passkeys", "name", box=None, header_style="bold", pad_edge=False)
    for p, state in lines:
        table.add_row(*map(escape, (p.handle, p.organisation.slug, " ".join(sorted(p.roles)), state, p.name)))
    console.print(table if found else "There are no people yet: hub person invite.")


def _check_known(database: db.Database, person: Person, organisation: str, now: datetime, *, more: bool, again: bool) -> None:
    """Somebody known may be invited while they have no passkey, or with `--again`.

    Raises:
        Conflict, InvalidRequest
    """
    if person.organisation.slug != organisation:
        raise Conflict(f"There is already a person {person.handle!r}, of another organisation.", field="handle")
    if person.disabled(now):
        raise InvalidRequest(f"{person.handle} is disabled for good; somebody who comes back gets a new handle.", field="handle")
    if more:
        raise InvalidRequest(f"{person.handle} is known already: leave out --name and --role (see hub person roles).", field="handle")
    if not again and passkeys.passkeys_of(database.writer, person.id):
        reason = "has a passkey and can sign in. If their devices are lost, --again voids their passkeys and invites them anew."
        raise InvalidRequest(f"{person.handle} {reason}", field="handle")


def _record(database: db.Database, change: str, person: UUID, roles: frozenset[str]) -> None:
    now = datetime.now(UTC)
    asked = {"change": change, "person": str(person), "roles": sorted(roles)}
    Log(database.auditor).record(Event(event_id(now, os.urandom(10)), "person", now, By(client="cli"), "permit", asked=asked))
