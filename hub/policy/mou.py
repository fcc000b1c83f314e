"""An MOU file: YAML 1.2 read strictly into a model. Nothing is shared unless one says so; an unknown word is an error.

Pure: the catalogue of datasets comes in as an argument, boundary files are read by the caller.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from itertools import product
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, StringConstraints, ValidationError, ValidationInfo, field_validator, model_validator
from ruamel.yaml.nodes import Node

from hub.errors import InvalidPolicy, Problem
from hub.policy.clauses import REASONS, Aggregates, Duties, Grant, Refusal, Window
from hub.policy.own_tests import As, OwnTest, TestedRecord
from hub.policy.vocabulary import Part, Slug, Text, suggestion
from hub.records import Record
from hub.yamlfile import mark_of, nodes_of, read_file

MAX_PROBLEMS = 100  # told of one file; the rest shows when these are mended
NAME = r"^[A-Z0-9][A-Z0-9-]{2,62}$"
SHA256 = r"^[0-9a-f]{64}$"


class Parties(Part):
    provider: Slug
    consumer: Slug


class InForce(Part):
    """Both days are included; a day begins at 00:00 UTC."""

    since: Annotated[date, Field(alias="from")]
    until: Annotated[date, Field(lt=date(9999, 1, 1))]
    renewal: Literal["explicit"] = "explicit"
    notice_days: Annotated[int, Field(ge=0, le=366)] = 30

    @property
    def period(self) -> tuple[datetime, datetime]:
        """From (inclusive) and until (exclusive)."""
        return _midnight(self.since), _midnight(self.until + timedelta(days=1))


class Jurisdiction(Part):
    """A boundary file (GeoJSON, beside the MOU), pinned by the SHA-256 of its bytes."""

    file: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", max_length=200)]
    sha256: Annotated[str, StringConstraints(pattern=SHA256)]


class Contact(Part):
    """Whom to ask at a party."""

    name: Text
    role: Text | None = None
    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$", max_length=320)] | None = None
    phone: Annotated[str, StringConstraints(pattern=r"^[+0-9 ()./-]{3,40}$")] | None = None


class Contacts(Part):
    provider: Contact
    consumer: Contact


class Roles(Part):
    """Who does what at each party."""

    provider: Annotated[tuple[Text, ...], Field(min_length=1, strict=False)]
    consumer: Annotated[tuple[Text, ...], Field(min_length=1, strict=False)]


class Mou(Part):
    """One version of an MOU. `sha256` is of the file's bytes: the log cites it. `supersedes` is that of the version before."""

    mou: Annotated[str, StringConstraints(pattern=NAME)]
    version: Annotated[int, Field(ge=1, le=1_000_000)]
    supersedes: Annotated[str, StringConstraints(pattern=SHA256)] | None = None
    title: Text
    parties: Parties
    in_force: InForce
    review_by: date
    legal_basis: Text
    objectives: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    roles: Roles | None = None
    contacts: Contacts | None = None
    communication: Text | None = None
    conflict_resolution: Text | None = None
    review: Text | None = None
    jurisdictions: Annotated[dict[Slug, Jurisdiction], Field(default_factory=dict)]
    grants: Annotated[tuple[Grant, ...], Field(min_length=1, strict=False)]
    refuse: Annotated[tuple[Refusal, ...], Field(strict=False)] = ()
    tests: Annotated[tuple[OwnTest, ...], Field(strict=False)] = ()
    _source: bytes = PrivateAttr(default=b"")

    @field_validator("supersedes", mode="before")
    @classmethod
    def _digest(cls, value: object) -> object:
        if not isinstance(value, str) or not value.startswith("sha256:"):
            raise ValueError("must be `sha256:` and the SHA-256 of the version before, in hexadecimal")
        return value.removeprefix("sha256:")

    @field_validator("refuse", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """Refusals without a name of their own get one: refusal-1 is the first."""
        if not isinstance(value, list):
            return value
        return [{"id": f"refusal-{n}", **item} if isinstance(item, dict) else item for n, item in enumerate(value, 1)]

    @field_validator("tests", mode="before")
    @classmethod
    def _about(cls, value: object, info: ValidationInfo) -> object:
        """A test is about the dataset that the grants are about, where they name one alone."""
        if "grants" not in info.data:
            return []  # what is wrong with those is said; what follows from it isn't
        named = {grant.dataset for grant in info.data["grants"]}
        if not isinstance(value, list) or len(named) != 1:
            return value
        return [{"dataset": next(iter(named)), **item} if isinstance(item, dict) else item for item in value]

    @model_validator(mode="after")
    def _makes_sense(self) -> "Mou":
        if self.parties.provider == self.parties.consumer:
            raise ValueError("parties: provider and consumer are the same organisation")
        if self.in_force.until < self.in_force.since:
            raise ValueError("in_force: ends before it begins")
        names = [clause.id for _, clause in self.clauses()]
        if len(set(names)) < len(names):
            raise ValueError("grants: two grants or refusals have the same id")
        for word, clause in self.clauses():
            for name in clause.areas:
                if name not in self.jurisdictions:
                    close = suggestion(name, self.jurisdictions)
                    raise ValueError(f"{word}: {clause.id} is within {name!r}, which is not among the jurisdictions{close}")
        self._keep_bands_whole()
        for n, test in enumerate(self.tests):
            if test.record.area is not None and test.record.area not in self.jurisdictions:
                raise ValueError(f"tests: [{n}] record: {test.record.area!r} is not among the jurisdictions")
        return self

    def _keep_bands_whole(self) -> None:
        """Raises ValueError when a refusal would tell a number more finely than a grant's bands do: by what is not there."""
        for refusal, grant in product(self.refuse, self.grants):
            for condition in refusal.where if refusal.dataset == grant.dataset else ():
                edges = grant.treatment(condition.field).edges
                if edges and condition.cuts(edges):
                    raise ValueError(f"refuse: {refusal.id} cuts through a band in which {grant.id} releases {condition.field}")

    def clauses(self) -> Iterator[tuple[str, Grant | Refusal]]:
        """Grants, then refusals, each with the word of the file that it stands under."""
        yield from (("grants", grant) for grant in self.grants)
        yield from (("refuse", refusal) for refusal in self.refuse)

    @property
    def says_how_parties_work(self) -> bool:
        """Whether it has anything of the part that people, not the hub, act on."""
        parts = (self.objectives, self.roles, self.contacts, self.communication, self.conflict_resolution, self.review)
        return any(parts)

    @property
    def source(self) -> bytes:
        return self._source

    @property
    def sha256(self) -> str:
        return sha256(self._source).hexdigest()


PARTS = (Mou, Parties, InForce, Jurisdiction, Contacts, Contact, Roles)
CLAUSES = (Grant, Window, Aggregates, Duties, Refusal, OwnTest, As, TestedRecord)
WORDS = frozenset(info.alias or name for part in PARTS + CLAUSES for name, info in part.model_fields.items())


def read_mou(source: bytes, datasets: Mapping[str, type[Record]]) -> Mou:
    """The MOU in `source`.

    Raises:
        InvalidPolicy: with one Problem for each thing wrong, naming its place in the file, its line and the reason.
    """
    file = read_file(source, "MOU", InvalidPolicy)
    try:
        mou = Mou.model_validate(file.data, context={"datasets": datasets})
    except ValidationError as error:
        problems = _problems(file.nodes, error)
        raise InvalidPolicy("; ".join(f"{p.field}: {p.reason}" for p in problems[:5]), problems=problems) from None
    mou._source = source
    return mou


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(0), UTC)


def _problems(nodes: Node, error: ValidationError) -> list[Problem]:
    """One for each thing wrong, up to MAX_PROBLEMS: what is wrong only because a part of it is, is not said again."""
    errors = error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
    found = [_placed(e["loc"], _reason(e["type"], e["msg"], e["loc"])) for e in errors]
    return [
        _problem(nodes, place, reason)
        for place, reason in found
        if not any(len(other) > len(place) and other[: len(place)] == place for other, _ in found)
    ]


def _reason(kind: str, message: str, place: tuple[int | str, ...]) -> str:
    """pydantic's message in the words of the vocabulary."""
    reason = REASONS.get(kind, message)
    return reason + suggestion(place[-1], WORDS) if kind == "extra_forbidden" else reason


def _placed(place: tuple[int | str, ...], message: str) -> tuple[tuple[int | str, ...], str]:
    """The place and the reason of a message such as `[2] at_most: must be …`, which begins with the inner part of its place."""
    match = re.match(r"(?:Value error, )?(?:\[(\d+)\] )?(?:([a-z_]+): )?", message)
    number, name = match.groups() if match else (None, None)
    inner: tuple[int | str, ...] = (*((int(number),) if number else ()), *((name,) if name else ()))
    return place + inner, message[match.end() :] if match else message


def placed(source: bytes, place: tuple[int | str, ...], reason: str) -> Problem:
    """Something wrong at a place of a file, with its line and column."""
    return _problem(nodes_of(source), place, reason)


def _problem(nodes: Node | None, place: tuple[int | str, ...], reason: str) -> Problem:
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".") or "the file"
    mark = mark_of(nodes, place)
    return Problem(path, f"{reason} (line {mark.line}, column {mark.column})" if mark else reason)
