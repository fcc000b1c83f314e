"""An agreement as people read it before they sign: a PDF of its sentences, its boundaries' hashes, and the file itself. Its SHA-256 is
part of what is signed. The same file and names give the same bytes.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time

from hub.paper import Facts, Paper
from hub.policy import words
from hub.policy.clauses import Grant, Refusal
from hub.policy.mou import Contact, Mou
from hub.records import Record


def render(mou: Mou, names: Mapping[str, str], datasets: Mapping[str, type[Record]]) -> bytes:
    """The document. `names`: organisations by slug."""
    paper = Paper(f"{mou.mou}, version {mou.version}   ·   SHA-256 of the file {mou.sha256[:16]}…")
    paper.set_creation_date(datetime.combine(mou.in_force.since, time(0), UTC))
    paper.set_title(f"{mou.mou}, version {mou.version}: {mou.title}")
    paper.set_creator("Concord")
    provider, consumer = words.parties(mou, names)
    paper.say(mou.title, 18, "B", 2)
    paper.say(words.headline(mou, names), 11, space=3)
    paper.facts(
        [
            ("Agreement", f"{mou.mou}, version {mou.version}"),
            ("Gives", f"{provider} ({mou.parties.provider})"),
            ("Receives", f"{consumer} ({mou.parties.consumer})"),
            ("Legal basis", mou.legal_basis),
            ("Period", words.in_force_words(mou)),
            ("Review", words.review_words(mou)),
            *([("Replaces the version with the SHA-256", mou.supersedes)] if mou.supersedes else []),
        ]
    )
    if mou.says_how_parties_work:
        paper.heading("How the parties work together")
        paper.facts(_together(mou, provider, consumer))
    for grant in mou.grants:
        _grant(paper, mou, grant, names, datasets[grant.dataset])
    for refusal in mou.refuse:
        _refusal(paper, mou, refusal, names)
    _fixed(paper, mou)
    return bytes(paper.output())


def _together(mou: Mou, provider: str, consumer: str) -> Facts:
    said: list[tuple[str, str | Sequence[str]]] = [("Objectives", mou.objectives)] if mou.objectives else []
    if mou.roles:
        said += [(f"What {provider} does", mou.roles.provider), (f"What {consumer} does", mou.roles.consumer)]
    if mou.contacts:
        said += [(f"Contact at {n}", _contact(c)) for n, c in ((provider, mou.contacts.provider), (consumer, mou.contacts.consumer))]
    parts = {"Communication": mou.communication, "When they disagree": mou.conflict_resolution, "How it is reviewed": mou.review}
    return said + [(name, text) for name, text in parts.items() if text]


def _contact(contact: Contact) -> str:
    return ", ".join(part for part in (contact.name, contact.role, contact.email, contact.phone) if part)


def _grant(paper: Paper, mou: Mou, grant: Grant, names: Mapping[str, str], dataset: type[Record]) -> None:
    said = words.explain(mou, grant, names, dataset)
    paper.heading(f"What is shared: {grant.id}")
    paper.say(said.summary)
    paper.facts(
        [
            ("Which records", said.records),
            ("How old", said.period),
            ("What for", said.purposes),
            ("What may be done", said.actions),
            ("Case reference", said.case),
            ("Counts", said.counts),
            ("What its recipient owes", said.owed),
            *((field.words[0].upper() + field.words[1:], f"{field.how} ({field.field})") for field in said.shown),
            *([("Everything not listed is withheld", ", ".join(said.withheld))] if said.withheld else []),
        ]
    )


def _refusal(paper: Paper, mou: Mou, refusal: Refusal, names: Mapping[str, str]) -> None:
    said = words.explain_refusal(mou, refusal, names)
    paper.heading(f"What is never shared: {refusal.id}")
    paper.say(said.summary)
    paper.facts([("Which records", said.records)])


def _fixed(paper: Paper, mou: Mou) -> None:
    """What the sentences were made from; where they seem to differ, the file counts."""
    paper.heading("The file itself")
    paper.say("The sentences above are made from this file. Where they seem to differ, the file counts.")
    paper.facts(
        [
            ("SHA-256 of the file", mou.sha256),
            *((f"Area {name}", f"{pinned.file}, SHA-256 {pinned.sha256}") for name, pinned in mou.jurisdictions.items()),
        ]
    )
    paper.say(mou.source.decode(), 7)
