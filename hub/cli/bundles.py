"""`hub audit export | expire | trust | verify`: bundles that an auditor verifies without the hub; bodies that go after their time."""

import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from hub import verifier
from hub.agreements.replay import Replay
from hub.audit.expiry import expire, months_before
from hub.audit.export import Exporter, Wanted
from hub.audit.leaf import By, Event, event_id
from hub.audit.lists import EXPIRY
from hub.audit.log import Log, Search
from hub.audit.trust import trust_of
from hub.cli.opened import opened
from hub.cli.out import console
from hub.datasets import DATASETS
from hub.db import Database, owner_transaction, transaction
from hub.errors import InvalidRequest, Unavailable
from hub.private_file import growing
from hub.settings import read_settings
from hub.setup import addresses_of
from hub.workers.sequencing import log_key

PATIENCE_S = 10.0
_PENDING = "select exists (select from hub.log_pending p join hub.audit_leaves l on l.id = p.leaf where l.event = %s::uuid)"


@dataclass(frozen=True)
class _Asked:
    """The command's options by name, those that were given."""

    named: dict[str, Any]

    def scope(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.named.items() if value is not None}


def audit_export(
    out: Annotated[Path, typer.Option(help="The bundle to write; must not exist.")],
    owner: Annotated[str | None, typer.Option(help="Accesses to the data of this organisation, its list complete.")] = None,
    record: Annotated[UUID | None, typer.Option(help="Who stored or saw this record; with its owner's list.")] = None,
    case: Annotated[str | None, typer.Option(help="A case reference.")] = None,
    person: Annotated[UUID | None, typer.Option(help="The id of a person.")] = None,
    organisation: Annotated[str | None, typer.Option(help="Who did it.")] = None,
    mou: Annotated[str | None, typer.Option(help="An agreement.")] = None,
    since: Annotated[datetime | None, typer.Option(help="From this time on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Up to this time (UTC).")] = None,
    pinned: Annotated[int, typer.Option(min=0, help="Size of a checkpoint that the reader verified before.")] = 0,
) -> None:
    """Writes a signed bundle of what the options choose, or of the whole log, with all that is needed to verify it offline.

    Run it as the sequencer's user: it signs with the log's key. The export is itself in the log.
    """
    settings, now = read_settings(), datetime.now(UTC)
    asked = _Asked({
        "owner": owner, "record": record, "case": case, "person": person, "organisation": organisation, "mou": mou,
        "since": since, "until": until,
    })  # fmt: skip
    signer = log_key(settings)
    with opened() as database:
        _log_export(database, asked, now)
        wanted = Wanted(_search(database, asked), _owners(database, asked), asked.scope(), settings.witness_quorum, pinned)
        try:
            with growing(out) as file:
                made = Exporter(database.auditor, signer).write(file, wanted, now)
        except FileExistsError:
            raise InvalidRequest(f"{out} is there already.", field="out") from None
        except OSError as error:
            raise InvalidRequest(f"{out} can't be written: {error.strerror}.", field="out") from None
    console.print(f"Wrote {out}: {made.entries:,} entries, up to the checkpoint of {made.checkpoint.size:,} leaves.", markup=False)
    if made.later:
        console.print(f"{made.later:,} entries that match came later, and are not in it: export again.")


def _log_export(database: Database, asked: _Asked, now: datetime) -> None:
    """Before anything is read; and waits until that is in the tree, so that the bundle reaches up to now."""
    fields = sorted(asked.scope())
    event = Event(event_id(now, os.urandom(10)), "audit", now, By(client="cli"), "permit", asked={"as": "bundle", "fields": fields})
    Log(database.auditor).record(event)
    until = time.monotonic() + PATIENCE_S
    with transaction(database.auditor) as tx:
        while tx.rows(_PENDING, (str(event.id),)) == [(True,)]:
            if time.monotonic() > until:
                raise Unavailable("The log's tree doesn't grow: is the sequencer running (`hub sequencer`, or `hub serve`)?")
            time.sleep(0.05)


def _search(database: Database, asked: _Asked) -> Search | None:
    """None: the whole log."""
    named = asked.named
    if not asked.scope():
        return None
    log, record = Log(database.auditor), named["record"]
    revisions = None if record is None else frozenset(n for name in DATASETS for n in log.revisions(name, record, None))
    times = {name: None if named[name] is None else named[name].replace(tzinfo=UTC) for name in ("since", "until")}
    chosen: dict[str, Any] = {name: named[name] for name in ("owner", "case", "person", "organisation", "mou")} | times
    return Search(revisions=revisions, **chosen)


def _owners(database: Database, asked: _Asked) -> list[str]:
    """Whose lists are to be complete."""
    owner, record = asked.named["owner"], asked.named["record"]
    if record is None:
        return [owner] if owner else []
    log = Log(database.auditor)
    found = [whose for name in DATASETS if (whose := log.owner_of(name, record))]
    if not found:
        raise InvalidRequest(f"The hub has, and had, no record {record}.", field="record")
    return sorted({*found, *([owner] if owner else [])})


def audit_expire(
    before: Annotated[datetime, typer.Option(formats=["%Y-%m"], help="The first month that stays, such as 2026-01.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Removes the bodies of leaves of months before, once they are in the tree. Places, hashes and proofs stay. It is itself in the log."""
    now, settings = datetime.now(UTC), read_settings()
    with opened() as database, owner_transaction(addresses_of(settings).main) as tx:
        parts = months_before(tx, before, now)
        if not parts:
            console.print(f"The log has no months before {before:%Y-%m}.")
            return
        if not yes:
            typer.confirm(f"Remove for good the bodies of {', '.join(parts)}?", abort=True)

        def logged(places: int) -> None:
            asked = {"before": f"{before:%Y-%m}", "parts": parts, "places": places}
            Log(database.auditor).record(Event(event_id(now, os.urandom(10)), EXPIRY, now, By(client="cli"), "permit", asked=asked))

        gone = expire(tx, parts, before, logged)
        tx.rows("commit")
    console.print(f"Removed {gone.leaves:,} bodies; those before place {gone.before:,} of the tree may be gone. Their hashes stay.")


def audit_trust() -> None:
    """Prints a trust file: the keys that bundles are verified with, as this hub has them.

    Whoever verifies compares them with what the hub's operator, the witnesses and the parties say themselves.
    """
    settings = read_settings()
    signer = log_key(settings)
    with opened() as database:
        print(json.dumps(trust_of(database.auditor, signer.key, settings.witness_quorum), indent=1))


def audit_verify(
    bundle: Path,
    keys: Annotated[Path, typer.Option(help="The trust file: keys and checkpoint from elsewhere than the bundle.")],
    all_: Annotated[bool, typer.Option("--all", help="It must be of the whole log.")] = False,
    owner: Annotated[list[str] | None, typer.Option(help="It must have the complete list of this owner; may be repeated.")] = None,
    pin: Annotated[bool, typer.Option(help="If all holds, note its checkpoint in the trust file.")] = False,
) -> None:
    """Verifies a bundle offline: no network, no database, no key from the bundle. Exits 3 if something does not hold.

    Also replays what was shown from the agreements that the leaves cite. `hub-verify` does all but the replay, and needs no server.
    """
    raise typer.Exit(verifier.run(bundle, keys, all_, owner or [], pin, Replay(DATASETS)))
