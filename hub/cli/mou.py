"""`hub mou …`: an agreement from its file to its end. What needs no hub works on files alone; a step is taken as a party (`--as`, over
HTTP) or, where the operator may, on the hub itself.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from ruamel.yaml import YAML

from hub.agreements.due import Due, due_of, from_told, sentences
from hub.agreements.files import check
from hub.agreements.lifecycle import Lifecycle
from hub.agreements.next_version import next_version
from hub.agreements.store import Actor
from hub.agreements.texts import Texts
from hub.cli.opened import opened
from hub.cli.out import console, table
from hub.cli.party import OPERATOR, AsAnybody, AsParty, party, passphrase_of, read_file
from hub.datasets import DATASETS
from hub.errors import InvalidRequest, Refused
from hub.identity.party_keys import STATEMENT, sign
from hub.policy import words
from hub.policy.mou import Mou
from hub.policy.own_tests import As, OwnTest
from hub.policy.playing import NOON, failures, outcome
from hub.settings import read_settings
from hub.setup import registry

SOMETHING_DUE = 3  # 1: an error, 2: wrong usage
commands = typer.Typer(no_args_is_help=True, help="Memoranda of understanding: written, tried, signed, in force, ended.")
Key = Annotated[Path, typer.Option(help="Your organisation's private key for signatures (see hub party-key new).")]


@commands.command("check")
def check_file(file: Path) -> None:
    """Reads an MOU file with its boundary files and runs its own tests; needs no database and changes nothing."""
    found, _ = _check(file)
    tests = f"{len(found.tests)}, all pass" if found.tests else "none"
    console.print(f"{found.mou} version {found.version} is good. Grants: {len(found.grants)}; its own tests: {tests}.", markup=False)
    console.print(f"SHA-256 {found.sha256}")


@commands.command()
def test(file: Path) -> None:
    """Runs the tests that an MOU file brings along, and says what came of each; needs no database."""
    found, areas = _check(file, own_tests=False)
    wrong = {p.field: p.reason for p in failures(found, areas, DATASETS)}
    for n, one in enumerate(found.tests):
        reason = wrong.get(f"tests[{n}].expect")
        console.print(f"{'failed' if reason else 'passed'}  tests[{n}]  {one.as_.organisation} for {one.as_.purpose}", markup=False)
        if reason:
            console.print(f"        {reason}", markup=False)
    console.print(f"{len(found.tests)} tests, {len(wrong)} failed.")
    if wrong:
        raise typer.Exit(1)


@commands.command("what-if")
def what_if(
    file: Path,
    record: Annotated[str, typer.Argument(help="A made-up record in YAML, such as '{in: harbour, ago: P3D, category: theft}'.")],
    organisation: Annotated[str | None, typer.Option(help="Who asks; the consumer unless said.")] = None,
    purpose: Annotated[str | None, typer.Option(help="For what; the first purpose of the first grant unless said.")] = None,
    case: Annotated[str | None, typer.Option(help="With which case reference.")] = None,
    dataset: Annotated[str, typer.Option(help="Of which dataset the record is.")] = "incidents",
) -> None:
    """What an MOU file would make of a made-up record; needs no database."""
    found, areas = _check(file, own_tests=False)
    who = organisation or found.parties.consumer
    asked = As(organisation=who, purpose=purpose or found.grants[0].purposes[0], case=case)
    about = YAML(typ="safe", pure=True).load(record)
    try:
        one = OwnTest.model_validate(
            {"as": asked.model_dump(), "dataset": dataset, "record": about, "expect": "shown"}, context={"datasets": DATASETS}
        )
    except ValueError as error:
        raise InvalidRequest(f"The record can't be read: {_first(error)}", field="record") from None
    shown = outcome(found, one, areas, DATASETS, found.in_force.period[0] + NOON)
    console.print(f"{asked.organisation} for {asked.purpose}: {'hidden' if shown is None else 'shown'}.", markup=False)
    if shown is not None:
        table(["field", "treatment"], [[name, str(t)] for name, t in shown.items()])


def _check(file: Path, own_tests: bool = True) -> tuple[Mou, dict[str, Any]]:
    return check(file, DATASETS, own_tests=own_tests, purposes=registry(read_settings()))


def _first(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    first = errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"


@commands.command()
def explain(file: Path) -> None:
    """Tells an MOU file in sentences, as the page of the agreement does; needs no database."""
    found, _ = _check(file, own_tests=False)
    for line in words.lines(found, {}, DATASETS):
        console.print(line, markup=False)


@commands.command()
def renew(
    file: Path,
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The last day of the new period.")],
    since: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="Its first day; the day after the old one's last unless said.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the new version; printed unless said.")] = None,
) -> None:
    """Writes the next version of an MOU file, for a new period; everything else stays as it is, comments included."""
    found, _ = _check(file, own_tests=False)
    first = since.date() if since else found.in_force.until + timedelta(days=1)
    if until.date() < first:
        raise InvalidRequest("The new period would end before it begins.", field="until")
    text = _renewed(found, first, until.date())
    if out is None:
        print(text, end="")
        return
    if out.exists():
        raise InvalidRequest(f"{out} is there already.", field="out")
    out.write_text(text)
    console.print(f"Wrote version {found.version + 1} of {found.mou} to {out}. Propose it with hub mou propose {out}.", markup=False)


def _renewed(found: Mou, first: date, last: date) -> str:
    def change(data: Any) -> None:
        data["in_force"]["from"], data["in_force"]["until"] = first, last

    return next_version(found, change)[1]


@commands.command()
def propose(
    file: Path,
    as_: AsParty,
    draft: Annotated[bool, typer.Option("--draft", help="Only keep it as a draft, which may be replaced.")] = False,
) -> None:
    """Sends an MOU file and its boundary files to the hub, and fixes its text for both parties to sign."""
    found, _ = _check(file)
    with party(as_) as client:
        for pinned in found.jurisdictions.values():
            content = (file.parent / pinned.file).read_bytes()
            client.request("PUT", f"/mous/boundaries/{pinned.sha256}", content, "application/geo+json")
        _told(client.request("POST", "/mous", found.source, "application/yaml"))
        if not draft:
            _told(client.request("POST", f"/mous/{found.mou}/{found.version}/proposal", {}))


@commands.command("sign")
def sign_version(
    key: Key,
    mou: Annotated[str | None, typer.Argument(help="The agreement's name; with --as.")] = None,
    version: Annotated[int | None, typer.Argument(help="Its version; with --as.")] = None,
    as_: Annotated[
        str | None, typer.Option("--as", help="A party's profile: reads the statement from the hub, and sends the signature.")
    ] = None,
    statement_file: Annotated[
        Path | None, typer.Option("--statement", help="Signs this file instead, without a hub; prints the signature.")
    ] = None,
    document: Annotated[Path | None, typer.Option(help="Where to keep the document that is signed (PDF).")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Without asking.")] = False,
) -> None:
    """Signs the statement of a proposed version with a key that never leaves this machine."""
    if statement_file is not None:
        print(_signed(key, read_file(statement_file), yes))
        return
    if mou is None or version is None or as_ is None:
        raise InvalidRequest("Name the agreement, its version and --as; or give --statement.")
    with party(as_) as client:
        here = f"/mous/{mou}/{version}"
        said = client.get(f"{here}/statement").content
        paper = client.get(f"{here}/document").content
        if sha256(paper).hexdigest() != json.loads(said)["document"]:
            raise Refused("The document that the hub gives is not the one in the statement: nothing was signed.")
        if document is not None:
            document.write_bytes(paper)
        _told(client.request("POST", f"{here}/signatures", {"signature": _signed(key, said, yes)}))


def _signed(key: Path, said: bytes, yes: bool) -> str:
    about = json.loads(said)
    print(f"{about['mou']} version {about['version']}: {about['provider']} gives, {about['consumer']} receives.", file=sys.stderr)
    print(f"In force {about['in_force']['from']} to {about['in_force']['until']}.", file=sys.stderr)
    print(f"SHA-256 of the file {about['sha256']}, of the document {about['document']}.", file=sys.stderr)
    if not yes and not typer.confirm("Sign this?", err=True):
        raise typer.Exit(1)
    pem = read_file(key)
    return sign(pem, passphrase_of(pem), said, STATEMENT)


@commands.command()
def diff(mou: str, version: int, as_: AsParty) -> None:
    """What a version would change, counted on the records that are there now; for the provider."""
    with party(as_) as client:
        answer = client.request("POST", f"/mous/{mou}/{version}/diff", {}).content
    found = json.loads(answer)
    print(f"{mou} version {version} at {found['at']}: what {found['consumer']} would have of {found['provider']}'s records.")
    rows = [[e["purpose"], e["action"], *(f"{e[w]:,}" for w in ("before", "after", "gained", "lost", "changed"))] for e in found["effects"]]
    table(["purpose", "action", "before", "after", "gained", "lost", "otherwise"], rows)
    for e in found["effects"]:
        if e["fields"]:
            print(f"\n{e['purpose']}, {e['action']}:")
            table(["field", "from", "to", "records"], [[f["field"], f["from"], f["to"], f"{f['count']:,}"] for f in e["fields"]])
        for example in e["examples"]:
            print(f"  {example['change']:8} {example['id']}")
    print(f"\nSHA-256 {sha256(answer).hexdigest()}")


@commands.command()
def use(
    mou: str,
    version: int,
    as_: AsParty,
    since: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="From this day on; a year back unless said.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the narrower version.")] = None,
) -> None:
    """What was read under each grant, from the log; and a narrower version, as a diff, where something was not."""
    period = f"?datetime={since:%Y-%m-%dT00:00:00Z}/.." if since else ""
    with party(as_) as client:
        found = client.get(f"/mous/{mou}/{version}/use{period}").json()
    part = "" if found["complete"] else ": the newest accesses alone"
    print(f"{mou} version {version}, {found['from'][:10]} to {found['until'][:10]}{part}.")
    rows = [
        [g["grant"], f"{g['accesses']:,}", f"{g['records']:,}", (g["last"] or "never")[:10], ", ".join(g["fields_unread"]) or "none",
         ", ".join(f"{name} {n}" for name, n in g.get("categories", {}).items()) or "-"] for g in found["grants"]
    ]  # fmt: skip
    table(["grant", "accesses", "records", "last", "fields nobody read", "categories"], rows)
    if found["narrower"]:
        print(f"\nA narrower version would be:\n\n{found['narrower']['diff']}", end="")
        if out is not None:
            out.write_text(found["narrower"]["file"])


@commands.command()
def activate(
    mou: str,
    version: int,
    as_: AsParty,
    diff_sha256: Annotated[str, typer.Option("--diff", help="The SHA-256 that hub mou diff printed: what you have looked at.")],
) -> None:
    """Brings a version into force that both parties signed; for the provider."""
    with party(as_) as client:
        _told(client.request("POST", f"/mous/{mou}/{version}/activation", {"diff_sha256": diff_sha256}))


@commands.command()
def suspend(
    mou: str, version: int, reason: Annotated[str, typer.Option(help="Why; the other party reads it.")], as_: AsAnybody = None
) -> None:
    """Has an agreement give nothing from the next query on."""
    _step(as_, mou, version, "suspension", {"reason": reason}, lambda life, who: life.suspend(who, mou, version, reason))


@commands.command()
def resume(mou: str, version: int, as_: AsAnybody = None) -> None:
    """Has a suspended agreement give again; for whoever suspended it."""
    _step(as_, mou, version, "resumption", {}, lambda life, who: life.resume(who, mou, version))


@commands.command()
def terminate(
    mou: str, version: int, reason: Annotated[str, typer.Option(help="Why; the other party reads it.")], as_: AsAnybody = None
) -> None:
    """Ends an agreement for good."""
    _step(as_, mou, version, "termination", {"reason": reason}, lambda life, who: life.terminate(who, mou, version, reason))


@commands.command()
def withdraw(mou: str, version: int, as_: AsAnybody = None) -> None:
    """Takes a version back that is not in force yet."""
    _step(as_, mou, version, "withdrawal", {}, lambda life, who: life.withdraw(who, mou, version))


@commands.command("list")
def list_versions(
    as_: AsAnybody = None,
    all_: Annotated[bool, typer.Option("--all", help="Those that ended, too.")] = False,
    due: Annotated[
        bool, typer.Option("--due", help=f"Only those of which something is due; exits {SOMETHING_DUE} if there are any.")
    ] = False,
) -> None:
    """Agreements, where they stand, and what is due: the renewal of those that end within their notice, a review that is overdue."""
    now = datetime.now(UTC)
    found = [row for row in _rows(as_, now) if row.wants and row.wants.due] if due else list(_rows(as_, now))
    ended = ("superseded", "terminated", "withdrawn", "expired")
    said = [[*row.cells, "; ".join(sentences(row.wants, now)) if row.wants else ""] for row in found if all_ or row.cells[2] not in ended]
    if due and not said:
        console.print("Nothing is due.")
        return
    table(["agreement", "version", "state", "gives", "receives", "ends", "due"], said)
    if due:
        raise typer.Exit(SOMETHING_DUE)


@dataclass(frozen=True, slots=True)
class _Row:
    """A version as the list shows it. `wants` None: it is neither in force nor suspended."""

    cells: tuple[str, ...]
    wants: Due | None


def _rows(as_: str | None, now: datetime) -> Iterator[_Row]:
    """As a party by what the hub answers, else from the hub's own database."""
    if as_ is not None:
        with party(as_) as client:
            for m in client.get("/mous").json()["mous"]:
                last = _last_day(datetime.fromisoformat(m["until"]))
                yield _Row((m["mou"], str(m["version"]), m["state"], m["provider"], m["consumer"], last), from_told(m))
        return
    with opened() as database:
        versions = _lifecycle(database.agreements).list(OPERATOR)
    texts = Texts(DATASETS)
    for v in versions:
        wants = due_of(v, versions, lambda v: texts.terms(v.sha256, v.source), now)
        yield _Row((v.mou, str(v.version), v.state_at(now), v.provider, v.consumer, _last_day(v.until)), wants)


def _last_day(until: datetime) -> str:
    """The day before the first moment at which it is no longer in force."""
    return f"{until - timedelta(days=1):%Y-%m-%d}"


def _lifecycle(engine: Any) -> Lifecycle:
    from hub.agreements.document import render  # what makes a PDF takes long to load

    return Lifecycle(engine, DATASETS, partial(render, datasets=DATASETS), lambda: datetime.now(UTC))


def _step(as_: str | None, mou: str, version: int, name: str, body: Mapping[str, Any], locally: Callable[[Lifecycle, Actor], Any]) -> None:
    if as_ is None:
        with opened() as database:
            found = locally(_lifecycle(database.agreements), OPERATOR)
        console.print(f"{found.mou} version {found.version} is {found.state}.", markup=False)
        return
    with party(as_) as client:
        _told(client.request("POST", f"/mous/{mou}/{version}/{name}", body))


def _told(answer: httpx2.Response) -> None:
    found = answer.json()
    signed = ", ".join(s["party"] for s in found["signatures"])
    more = f"; signed by {signed}" if signed and found["state"] in ("proposed", "signed") else ""
    console.print(f"{found['mou']} version {found['version']} is {found['state']}{more}.", markup=False)
