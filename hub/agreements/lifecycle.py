"""The life of an agreement: draft → proposed → signed → active → suspended | terminated | superseded; or withdrawn before it is active.

Versions never change once they are proposed; only an active one within its period gives anything. A party acts for itself: either
drafts, proposes, withdraws, suspends and terminates; each signs with a key that it holds; the provider, whose records they are, brings a
version into force, and says by its hash which effect it has looked at. Every step is in the log of both parties.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from math import inf
from typing import Any

from sqlalchemy import Engine

from hub.agreements.activation import Activation
from hub.agreements.boundaries import MAX_BYTES, area_of
from hub.agreements.effect import basis, effect
from hub.agreements.files import refuse
from hub.agreements.recalls import recall_all
from hub.agreements.rules import keep_areas
from hub.agreements.statement import statement
from hub.agreements.store import OPEN, Actor, Version, areas_of, document_of, find, log_step, step, versions
from hub.agreements.texts import Texts
from hub.agreements.use import used
from hub.audit.log import Log
from hub.db import Transaction, transaction
from hub.errors import Conflict, Forbidden, InvalidRequest, NoSuchResource, Problem, Tampered
from hub.identity.party_keys import STATEMENT, check, kid_of
from hub.policy.mou import Mou
from hub.policy.playing import failures
from hub.policy.purposes import unregistered
from hub.records import Record

PATIENCE_S = 2.0  # a request waits so long for labels; a hub that serves goes on with them
DIFF_GOOD_FOR = timedelta(hours=24)
# Nothing is published meanwhile. After the version's row: who compares holds that for as long as it takes to look at all records.
_ALONE = "select pg_advisory_xact_lock(7201, 2)"
Render = Callable[[Mou, Mapping[str, str]], bytes]  # an MOU and the names of organisations by slug → its document


class Lifecycle:
    """Takes the steps; safe to use from several threads. `engine` is that of hub_agreements; `purposes`: what agreements may name,
    None: any word.
    """

    def __init__(
        self,
        engine: Engine,
        datasets: Mapping[str, type[Record]],
        render: Render,
        clock: Callable[[], datetime],
        purposes: Mapping[str, str] | None = None,
    ) -> None:
        self._engine, self._datasets, self._render, self._clock = engine, datasets, render, clock
        self._purposes = purposes
        self.activation = Activation(engine, datasets)
        self._texts = Texts(datasets)  # each step of a version reads the same file

    def list(self, actor: Actor) -> list[Version]:
        """Every version that the actor's organisation is a party of; the operator's: all."""
        with transaction(self._engine) as tx:
            if actor.organisation is None:
                return versions(tx, "true", ())
            return versions(tx, "%s in (p.slug, c.slug)", (actor.organisation,))

    def get(self, actor: Actor, mou: str, version: int) -> Version:
        """Raises NoSuchResource."""
        with transaction(self._engine) as tx:
            return find(tx, actor, mou, version)

    def keep_boundary(self, actor: Actor, digest: str, content: bytes) -> bool:
        """Keeps a boundary file under its SHA-256; false when it was there already.

        Raises:
            InvalidRequest: the file has another hash. InvalidPolicy: it holds no valid area.
        """
        found = sha256(content).hexdigest()
        if found != digest:
            raise InvalidRequest(f"The body's SHA-256 is {found}, not {digest}.", field="sha256")
        if len(content) > MAX_BYTES:
            raise InvalidRequest(f"A boundary file has at most {MAX_BYTES:,} bytes.", field="body")
        area_of("boundary", content)
        with transaction(self._engine) as tx:
            added = tx.rows(
                "begin; insert into hub.boundaries (sha256, organisation, content)"
                " select %s, o.id, %s from hub.organisations o where o.slug = %s on conflict do nothing returning 1",
                (digest, content, actor.organisation),
            )
            tx.rows("commit")
            return bool(added)

    def draft(self, actor: Actor, source: bytes) -> Version:
        """Keeps a file as a draft; a draft of the same version is replaced by it.

        Raises:
            InvalidPolicy: the file, a boundary or a party is not acceptable, or one of its own tests fails.
            Forbidden: the actor's organisation is no party of it.
            Conflict: another version is on its way, this one is no draft any more, or the name is taken.
        """
        mou = self._texts.read(source)
        with transaction(self._engine) as tx:
            tx.rows("begin; select pg_advisory_xact_lock(7201, 3)")  # whoever drafts, one after the other
            self._valid(tx, mou)
            parties = _parties(tx, mou)
            if actor.organisation is not None and actor.organisation not in parties:
                raise Forbidden("Your organisation is not a party of this agreement.")
            known = versions(tx, "m.mou = %s", (mou.mou,), lock=True)
            _follows(mou, known)
            since, until = mou.in_force.period
            tx.rows(
                "insert into hub.mous (mou, version, sha256, source, provider, consumer, in_force_from, in_force_until, state, stepped_at)"
                " values (%s, %s, %s, %s, %s, %s, %s, %s, 'draft', %s) on conflict (mou, version) do update set sha256 = excluded.sha256,"
                " source = excluded.source, provider = excluded.provider, consumer = excluded.consumer,"
                " in_force_from = excluded.in_force_from, in_force_until = excluded.in_force_until, stepped_at = excluded.stepped_at",
                (
                    mou.mou,
                    mou.version,
                    mou.sha256,
                    mou.source.decode(),
                    parties[mou.parties.provider],
                    parties[mou.parties.consumer],
                    since,
                    until,
                    self._clock(),
                ),
            )
            return self._done(tx, actor, find(tx, actor, mou.mou, mou.version), "drafted")

    def propose(self, actor: Actor, mou: str, version: int) -> Version:
        """Fixes a draft: its text, and the document that people read before they sign."""
        with transaction(self._engine) as tx:
            found = self._open(tx, actor, mou, version, "propose", "draft")
            words = self._texts.read(found.source.encode())
            names = dict(tx.rows("select slug, name from hub.organisations"))
            document = self._render(words, names)
            said = statement(words, document).decode()
            step(tx, found, "proposed", self._clock(), document=document, statement=said)
            return self._done(tx, actor, found, "proposed", document=sha256(document).hexdigest())

    def sign(self, actor: Actor, mou: str, version: int, signature: str) -> Version:
        """Adds the signature of the actor's organisation: a detached JWS over the statement, by a key that it holds.

        Raises:
            InvalidRequest: it is not that. Forbidden: the operator signs for nobody. Conflict: there is nothing to sign.
        """
        if actor.organisation is None:
            raise Forbidden("The operator of the hub signs for no party.")
        kid = kid_of(signature, STATEMENT)
        with transaction(self._engine) as tx:
            found = self._open(tx, actor, mou, version, "sign", "proposed")
            jwk = _key(tx, actor.organisation, kid)
            check(signature, STATEMENT, str(found.statement).encode(), jwk)
            tx.rows(
                "insert into hub.mou_signatures (mou_id, organisation, kid, jws, at) values (%s, %s, %s, %s, %s)"
                " on conflict (mou_id, organisation) do update set kid = excluded.kid, jws = excluded.jws, at = excluded.at",
                (found.id, found.party_id(actor.organisation), kid, signature, self._clock()),
            )
            signed = {s["party"] for s in found.signatures} | {actor.organisation}
            if signed == set(found.parties):
                step(tx, found, "signed", self._clock())
            return self._done(tx, actor, found, "signed", party=actor.organisation, kid=kid)

    def withdraw(self, actor: Actor, mou: str, version: int) -> Version:
        """Takes a version back that is not in force yet."""
        with transaction(self._engine) as tx:
            found = self._open(tx, actor, mou, version, "withdraw", *OPEN)
            tx.rows(_ALONE)
            step(tx, found, "withdrawn", self._clock())
            if found.state == "activating":
                self.activation.call_off(tx, found.id)
            gone = self._done(tx, actor, found, "withdrawn")
        if found.state == "activating":
            self.activation.sweep(found.id, PATIENCE_S)
        return gone

    def diff(self, actor: Actor, mou: str, version: int) -> bytes:
        """What the version would change, worked out on the records that are there now (hub/agreements/effect.py). The provider's alone:
        it counts records, and names some.
        """
        with transaction(self._engine) as tx:
            found = self._open(tx, actor, mou, version, "compare", *OPEN[:3])
            _provider(actor, found, "sees what it would change")
            words, now = self._texts.read(found.source.encode()), self._clock()
            body = effect(tx, found, words, areas_of(tx, words), self._datasets, now)
            tx.rows(
                "insert into hub.mou_diffs (mou_id, sha256, body, basis, at) values (%s, %s, %s, %s, %s) on conflict (mou_id) do update"
                " set sha256 = excluded.sha256, body = excluded.body, basis = excluded.basis, at = excluded.at",
                (found.id, sha256(body).hexdigest(), body.decode(), basis(tx, found), now),
            )
            log_step(tx, actor, found, "compared", now)
            tx.rows("commit")
            return body

    def activate(self, actor: Actor, mou: str, version: int, acknowledged: str) -> Version:
        """Brings a signed version into force; `acknowledged` is the SHA-256 of the effect diff that the provider has looked at. Labels
        are put on afterwards, batch by batch: `finish` does it, and so does a hub that serves.

        Raises:
            Conflict: something that it needs doesn't hold; the message says what.
        """
        with transaction(self._engine) as tx:
            found = self._open(tx, actor, mou, version, "bring into force", "signed")
            _provider(actor, found, "brings it into force")
            words, now = self._texts.read(found.source.encode()), self._clock()
            areas = self._valid(tx, words)
            self._signed(tx, found, words)
            _none_suspended(tx, found)
            _still_good(tx, found, acknowledged, now)
            if now >= found.until:
                raise Conflict(f"It ended on {words.in_force.until}: it would give nothing.")
            tx.rows(_ALONE)
            step(tx, found, "activating", now)
            keep_areas(tx, found.id, words, areas)
            self.activation.begin(tx, found.id, words, found.provider_id, areas, actor.by)
            return self._done(tx, actor, found, "activating", diff=acknowledged)

    def finish(self, found: Version, patience_s: float = inf) -> int:
        """Puts the labels on of a version that comes into force, and switches; gives up after some time, to be gone on with later. Gives
        how many records got labels.
        """
        return self.activation.finish(found.id, self._clock(), patience_s)

    def statement(self, actor: Actor, mou: str, version: int) -> bytes:
        """What is signed. Raises NoSuchResource: there is no such version, or it was not proposed yet."""
        found = self.get(actor, mou, version)
        if found.statement is None:
            raise NoSuchResource("A draft has no statement yet: it must be proposed first.")
        return found.statement.encode()

    def document(self, actor: Actor, mou: str, version: int) -> bytes:
        """What people read before they sign (PDF). Raises NoSuchResource."""
        with transaction(self._engine) as tx:
            content = document_of(tx, find(tx, actor, mou, version))
        if content is None:
            raise NoSuchResource("A draft has no document yet: it must be proposed first.")
        return content

    def use(self, actor: Actor, log: Log, mou: str, version: int, since: datetime, until: datetime) -> dict[str, Any]:
        """What was read under a version in a period, and a narrower one (hub/agreements/use.py); that it was asked is in the log first."""
        with transaction(self._engine) as tx:
            tx.rows("begin")
            found = find(tx, actor, mou, version)
            log_step(tx, actor, found, "use read", self._clock())
            tx.rows("commit")
        owner = actor.organisation in (None, found.provider)
        return used(log, self._engine, self._texts.read(found.source.encode()), since, until, owner)

    def suspend(self, actor: Actor, mou: str, version: int, reason: str) -> Version:
        """From the next query on it gives nothing."""
        with transaction(self._engine) as tx:
            found = self._open(tx, actor, mou, version, "suspend", "active")
            party = None if actor.organisation is None else found.party_id(actor.organisation)
            step(tx, found, "suspended", self._clock(), suspended_by=party)
            _raise_epoch(tx)
            return self._done(tx, actor, found, "suspended", reason=reason)

    def resume(self, actor: Actor, mou: str, version: int) -> Version:
        """Raises Forbidden: another party, or the operator, suspended it."""
        with transaction(self._engine) as tx:
            found = self._open(tx, actor, mou, version, "resume", "suspended")
            if found.suspended_by != actor.organisation:
                raise Forbidden(f"It was suspended by {found.suspended_by or 'the operator of the hub'}, who alone can resume it.")
            step(tx, found, "active", self._clock(), suspended_by=None)
            _raise_epoch(tx)
            return self._done(tx, actor, found, "resumed")

    def terminate(self, actor: Actor, mou: str, version: int, reason: str) -> Version:
        """Ends it for good; what it gave under a duty is recalled."""
        with transaction(self._engine) as tx:
            found = self._open(tx, actor, mou, version, "terminate", "active", "suspended")
            step(tx, found, "terminated", self._clock(), suspended_by=None)
            self.activation.order_sweep(tx, found.id)
            _raise_epoch(tx)
            recall_all(tx, found.consumer_id, found.provider_id, found.mou, self._clock())
            ended = self._done(tx, actor, found, "terminated", reason=reason)
        self.activation.sweep(found.id, PATIENCE_S)
        return ended

    def _open(self, tx: Transaction, actor: Actor, mou: str, version: int, to: str, *states: str) -> Version:
        """The version, locked, in one of the states in which a step can be taken."""
        tx.rows("begin")
        found = find(tx, actor, mou, version, lock=True)
        if found.state not in states:
            raise Conflict(f"{mou} version {version} is {found.state}: to {to} it, it must be {' or '.join(states)}.")
        return found

    def _done(self, tx: Transaction, actor: Actor, found: Version, did: str, **asked: Any) -> Version:
        log_step(tx, actor, found, did, self._clock(), **asked)
        after = find(tx, actor, found.mou, found.version)
        tx.rows("commit")
        return after

    def _valid(self, tx: Transaction, mou: Mou) -> dict[str, Any]:
        areas = areas_of(tx, mou)
        refuse(unregistered(mou, self._purposes) or failures(mou, areas, self._datasets))
        return areas

    def _signed(self, tx: Transaction, found: Version, words: Mou) -> None:
        """Raises Conflict unless both parties' signatures verify, with keys that are good now; Tampered if what is stored is not what they
        signed.
        """
        if statement(words, document_of(tx, found) or b"").decode() != found.statement:
            raise Tampered(f"What is stored of {found.mou} version {found.version} is not what was signed: nothing came into force.")
        rows = tx.rows(
            "select o.slug, s.jws from hub.mou_signatures s join hub.organisations o on o.id = s.organisation where s.mou_id = %s",
            (found.id,),
        )
        signatures = dict(rows)
        for party in found.parties:
            if party not in signatures:
                raise Conflict(f"{party} has not signed it.")
            try:
                kid = kid_of(signatures[party], STATEMENT)
                check(signatures[party], STATEMENT, str(found.statement).encode(), _key(tx, party, kid))
            except InvalidRequest as error:
                raise Conflict(f"The signature of {party} is not good any more: {error.detail}") from None


def _raise_epoch(tx: Transaction) -> None:
    """What was decided before ends: once every disclosure that has begun is in the log (advisory lock 1)."""
    tx.rows("select pg_advisory_xact_lock(7201, 1); update hub.policy_epoch set epoch = epoch + 1")


def _parties(tx: Transaction, mou: Mou) -> dict[str, int]:
    names = {"parties.provider": mou.parties.provider, "parties.consumer": mou.parties.consumer}
    known: dict[str, int] = dict(tx.rows("select slug, id from hub.organisations where slug = any(%s)", (list(names.values()),)))
    refuse([Problem(place, f"the hub knows no organisation {slug}") for place, slug in names.items() if slug not in known])
    return known


def _follows(mou: Mou, known: Sequence[Version]) -> None:
    """Raises Conflict unless a draft of this version may follow, or replace, what there is."""
    if any((v.provider, v.consumer) != (mou.parties.provider, mou.parties.consumer) for v in known):
        raise Conflict(f"mou: the name {mou.mou} is taken by an agreement of other parties.")
    if same := next((v for v in known if v.version == mou.version and v.state != "draft"), None):
        raise Conflict(f"version: version {mou.version} of {mou.mou} is {same.state} and never changes; a change is a new version.")
    if newer := next((v for v in known if v.version > mou.version), None):
        raise Conflict(f"version: {mou.mou} has version {newer.version} already; a change is a new, higher version.")
    if other := next((v for v in known if v.version != mou.version and v.state in OPEN), None):
        raise Conflict(f"version: version {other.version} of {mou.mou} is {other.state}; withdraw it first.")
    before = next((v for v in reversed(known) if v.state not in (*OPEN, "withdrawn")), None)
    if mou.supersedes is not None and (before is None or mou.supersedes != before.sha256):
        has = f"the newest one here is {before.version}, SHA-256 {before.sha256}" if before else "no version of it was ever in force here"
        refuse([Problem("supersedes", f"names a version that is not the newest one that was in force; {has}")])


def _provider(actor: Actor, found: Version, does: str) -> None:
    if actor.organisation != found.provider:
        raise Forbidden(f"The provider, {found.provider}, {does}: the records are its own.")


def _key(tx: Transaction, organisation: str, kid: str) -> dict[str, str]:
    """A key of the organisation that is good for signatures now.

    Raises:
        InvalidRequest: it has no such key, it was not confirmed, or it was revoked; `field` is `signature`.
    """
    rows = tx.rows(
        "select k.jwk, k.confirmed_at, k.revoked_at from hub.party_keys k join hub.organisations o on o.id = k.organisation"
        " where o.slug = %s and k.kid = %s",
        (organisation, kid),
    )
    if not rows:
        raise InvalidRequest(f"{organisation} has no key {kid[:60]} here.", field="signature")
    jwk, confirmed, revoked = rows[0]
    if confirmed is None or revoked is not None:
        raise InvalidRequest(f"The key {kid} was {'revoked' if revoked else 'not confirmed by an operator yet'}.", field="signature")
    found: dict[str, str] = jwk
    return found


def _none_suspended(tx: Transaction, found: Version) -> None:
    """Raises Conflict while a version of the agreement is suspended: another one would undo what was suspended."""
    for other in versions(tx, "m.mou = %s and m.state = 'suspended'", (found.mou,)):
        raise Conflict(
            f"version {other.version} is suspended: it must be resumed by whoever suspended it, or ended, before another one gives."
        )


def _still_good(tx: Transaction, found: Version, acknowledged: str, now: datetime) -> None:
    """Raises Conflict unless the diff that was acknowledged is the newest, fresh, and worked out against what is live now."""
    rows = tx.rows("select sha256, basis, at from hub.mou_diffs where mou_id = %s", (found.id,))
    if not rows or rows[0][0] != acknowledged:
        raise Conflict("The effect that was acknowledged is not the one that the hub worked out last: compare, look, and give its SHA-256.")
    _, against, at = rows[0]
    if now - at > DIFF_GOOD_FOR or against != basis(tx, found):
        raise Conflict("What it would change was worked out too long ago, or other agreements changed since: compare again.")
