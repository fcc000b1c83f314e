"""Answers what is asked of the key process. Keys for reading are lent only for a committed event that covers them, to who asked for it,
and only once the event's leaves are signed (docs/decisions/0023-key-process.md).
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Engine

from hub.audit.tree import leaf_hash
from hub.crypto.keyring import Dek, Keyring
from hub.crypto.keys import MAC_LABELS, NotCovered, Proof, Sealing
from hub.crypto.leaf_signer import LeafSigner
from hub.crypto.literals import Literals as SealedLiterals
from hub.crypto.messages import (
    Ask,
    Bytes,
    Check,
    Confirm,
    Confirmed,
    Lent,
    Literals,
    Macs,
    Open,
    OpenNote,
    Ready,
    Reply,
    Request,
    Seal,
    Sealed,
    SealNote,
    Sign,
)
from hub.db import Transaction, transaction
from hub.errors import NotAuthenticated, Unavailable
from hub.identity.tokens import AccessToken, Verifier
from hub.records import Record
from hub.workers.covering import Asked, Holder, check, check_tested
from hub.workers.limits import Limits
from hub.workers.matching import Matching

_COVERED = "select c.*, b.* from hub.{}_covered(%s::uuid, %s, %s, %s::uuid[], %s::int[], %s::bigint[], %s::uuid[]) c, hub.log_behind(%s) b"
_PROVEN = "select client, active, counted, organisation from hub.proven(%s, %s)"

READS: Final = 8  # wrapped keys read at once; more wait for each other


@dataclass(frozen=True)
class Pace:
    """How far the log may fall behind, seconds: leaves waiting for its tree, and signatures for being copied into it; checkpoints waiting
    for `quorum` witnesses.
    """

    behind_s: int = 60
    quorum: int = 0
    unwitnessed_s: int = 86_400


class _Prover(NamedTuple):
    """Who brought a proof: the client, or `session:` and its id, as leaves have it; for whom it is counted, and for which organisation."""

    client: str
    counted: str
    organisation: str


class Lending:
    """The key process without its socket. Thread-safe. `clock` tells whether a token has expired; the age of an event is asked of the
    database.
    """

    def __init__(
        self,
        keyring: Keyring,
        signer: LeafSigner,
        main: Engine,
        datasets: Mapping[str, type[Record]],
        verifier: Verifier,
        limits: Limits,
        questions: Limits,
        clock: Callable[[], datetime],
        region: str | None = None,
        pace: Pace = Pace(),
        uncopied_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._keyring, self._signer, self._main, self._verifier, self._clock = keyring, signer, main, verifier, clock
        self._limits, self._questions, self._pace, self._uncopied_s = limits, questions, pace, uncopied_s
        self._datasets = {dataset.number: (name, dataset) for name, dataset in datasets.items()}
        self._matching = {dataset.number: Matching(name, dataset, keyring, main, region) for name, dataset in datasets.items()}
        self._slugs: dict[bytes, str] = {}
        self._sealed = SealedLiterals(keyring)
        self._reads = ThreadPoolExecutor(READS, "keyd-reads")
        self._answers: dict[type[Request], Callable[..., Reply]] = {
            Check: self._check,
            Seal: self._seal,
            Macs: self._macs,
            Literals: self._literals,
            Open: self._open,
            Ask: self._ask,
            Confirm: self._confirm,
            Sign: self._sign,
            SealNote: self._seal_note,
            OpenNote: self._open_note,
        }

    def answer(self, request: Request) -> Reply:
        """Raises HubError: what is refused, and why."""
        return self._answers[type(request)](request)

    def close(self) -> None:
        """Waits for nothing: what is being read is given to nobody."""
        self._reads.shutdown(wait=False, cancel_futures=True)

    def _check(self, _request: Check) -> Reply:
        self._keyring.check()
        return Ready()

    def _seal(self, request: Seal) -> Reply:
        items = [Sealing(UUID(bytes=i.owner), UUID(bytes=i.record), i.rev, i.schema, i.bucket, i.fields) for i in request.items]
        sealed = self._keyring.seal_batch(items)
        if request.dataset not in self._matching:
            return Sealed(sealed)
        versions = self._matching[request.dataset].index(items)
        return Sealed(sealed, versions and (versions.version, versions.next))

    def _macs(self, request: Macs) -> Reply:
        if request.label not in MAC_LABELS:
            raise NotCovered("There is no keyed hash of that name to be asked for.")
        return Bytes(self._keyring.macs(request.label, UUID(bytes=request.owner), request.data))

    def _literals(self, request: Literals) -> Reply:
        at = datetime.fromtimestamp(request.at, UTC)
        return Bytes(list(self._sealed.seal(UUID(bytes=request.event), at, request.text)))

    def _sign(self, request: Sign) -> Reply:
        """The hashes are what the caller says: who signs what is not in the log has raised an alarm, and learnt nothing."""
        last = self._signer.sign(UUID(bytes=request.event), request.hashes)[-1]
        return Lent([], last.n, last.leaf_hash, last.chain, last.key, last.signature)

    def _seal_note(self, request: SealNote) -> Reply:
        return Bytes([self._keyring.seal_note(UUID(bytes=request.owner), UUID(bytes=request.note), request.text)])

    def _open_note(self, request: OpenNote) -> Reply:
        token = self._token(Proof(request.token, request.cookie))
        if token is None or self._slug_of(request.owner) != token.organisation:
            raise NotCovered("A note is opened for a client of its owner alone.")
        return Bytes([self._keyring.open_note(UUID(bytes=request.owner), UUID(bytes=request.note), request.blob)])

    def _ask(self, request: Ask) -> Reply:
        self._dataset(request.dataset)
        prover = self._prover(Proof(request.token, request.cookie))
        self._questions.lend(prover.counted, prover.organisation, 1, time.monotonic())
        owners = [UUID(bytes=owner) for owner in request.owners]
        return Bytes([record.bytes for record in self._matching[request.dataset].candidates(request.field, request.said, owners)])

    def _confirm(self, request: Confirm) -> Reply:
        name, _ = self._dataset(request.dataset)
        token, event = self._token(Proof(request.token, request.cookie)), UUID(bytes=request.event)
        prover, age_s, leaves = self._look_up(name, event, token, request)
        matching = self._matching[request.dataset]
        question, field = matching.literals_hash(request.field, request.said), matching.field_name(request.field, request.said)
        tested = [(self._slug_of(w.owner), w.revision_no) for w in request.wanted]
        check_tested(leaves, age_s, name, _holder(token, prover.client), field, question, tested)
        # Counted as asking is, apart from it: else whoever can write leaves would have each value compared with every record.
        self._questions.lend(f"confirm {prover.counted}", f"confirm {prover.organisation}", 1, time.monotonic())
        last = self._signer.sign(event, [leaf_hash(leaf.encode()) for leaf in leaves])[-1]
        hits = matching.compare(request.field, request.said, request.wanted)
        return Confirmed(hits, last.n, last.leaf_hash, last.chain, last.key, last.signature)

    def _dataset(self, number: int) -> tuple[str, type[Record]]:
        if number not in self._datasets:
            raise NotCovered("There is no such dataset.")
        return self._datasets[number]

    def _prover(self, proof: Proof) -> _Prover:
        """Whose proof it is, if they may still act."""
        token = self._token(proof)
        cookie = None if proof.cookie is None else hashlib.sha256(proof.cookie.encode()).digest()
        with transaction(self._main) as tx:
            ((client, active, counted, organisation),) = tx.rows(_PROVEN, (None if token is None else token.client_id, cookie))
        if not active:
            raise NotAuthenticated("The client has been disabled, or the session has ended.")
        return _Prover(client, counted, str(organisation))

    def _open(self, request: Open) -> Reply:
        name, dataset = self._dataset(request.dataset)
        token = self._token(Proof(request.token, request.cookie))
        event = UUID(bytes=request.event)
        # A page asks for each record once a class, and of few owners; an id takes longer to make than to look up.
        ids = {raw: UUID(bytes=raw) for raw in {raw for w in request.wanted for raw in (w.owner, w.record)}}
        deks = [Dek(ids[w.owner], ids[w.record], w.cls, w.rev) for w in request.wanted]
        # Read meanwhile, as they are stored: two databases take as long as the slower one. Nothing is unwrapped before the leaf is signed.
        wrapped = self._reads.submit(self._keyring.wrapped, deks)
        try:
            prover, age_s, leaves = self._look_up(name, event, token, request)
            slugs = {owner: self._slug_of(owner) for owner in {w.owner for w in request.wanted}}
            asked = [Asked(slugs[w.owner], w.revision_no, w.cls) for w in request.wanted]
            check(leaves, age_s, name, dataset, _holder(token, prover.client), asked)
            self._limits.lend(prover.counted, prover.organisation, len(request.wanted), time.monotonic())
            last = self._signer.sign(event, [leaf_hash(leaf.encode()) for leaf in leaves])[-1]
            keys = self._keyring.lend(deks, wrapped.result())
        finally:
            wrapped.cancel()  # whoever is refused leaves nothing behind that others wait for
        return Lent(keys, last.n, last.leaf_hash, last.chain, last.key, last.signature)

    def _token(self, proof: Proof) -> AccessToken | None:
        """What a token says; None where a session's cookie was brought instead."""
        if (proof.token is None) == (proof.cookie is None):
            raise NotAuthenticated("Keys are lent to who brings an access token or the cookie of a session.")
        return None if proof.token is None else self._verifier.verify(f"Bearer {proof.token}", self._clock())

    def _look_up(self, name: str, event: UUID, token: AccessToken | None, request: Open | Confirm) -> tuple[_Prover, float, list[str]]:
        """Who asks, as the hub knows it, the event's age in seconds, and its leaves."""
        cookie = None if request.cookie is None else hashlib.sha256(request.cookie.encode()).digest()
        revisions = {(w.record, w.rev, w.revision_no, w.owner) for w in request.wanted}
        columns = (
            _array(record.hex() for record, *_ in revisions),
            _array(rev for _, rev, *_ in revisions),
            _array(number for _, _, number, _ in revisions),
            _array(owner.hex() for *_, owner in revisions),
        )
        with transaction(self._main) as tx:
            ((client, active, counted, organisation, age_s, leaves, strangers, behind_s, unwitnessed_s),) = tx.rows(
                _COVERED.format(name), (str(event), None if token is None else token.client_id, cookie, *columns, self._pace.quorum)
            )
        if not active:
            raise NotAuthenticated("The client has been disabled, or the session has ended.")
        if strangers:
            raise NotCovered("The store holds no such revisions of these owners.")
        self._check_pace(behind_s, unwitnessed_s)
        return _Prover(client, counted, str(organisation)), 0.0 if age_s is None else age_s, leaves or []

    def _check_pace(self, behind_s: float | None, unwitnessed_s: float | None) -> None:
        """Nothing is opened while the log is not being made unalterable."""
        if (behind_s or 0) > self._pace.behind_s:
            raise Unavailable(
                f"Leaves of the audit log have been waiting for its tree for over {self._pace.behind_s} s; nothing was opened."
            )
        if self._uncopied_s() > self._pace.behind_s:
            raise Unavailable(
                f"The audit log has not taken the signatures of the key process for over {self._pace.behind_s} s; nothing was opened."
            )
        if (unwitnessed_s or 0) > self._pace.unwitnessed_s:
            raise Unavailable(
                f"The audit log has lacked the cosignatures of {self._pace.quorum} witnesses for over {self._pace.unwitnessed_s} s; "
                "nothing was opened."
            )

    def _slug_of(self, owner: bytes) -> str:
        """The organisation whose id in ciphertexts this is; an id is never given anew."""
        if owner not in self._slugs:
            with transaction(self._main) as tx:
                self._slugs = _slugs(tx)
        if owner not in self._slugs:
            raise NotCovered("There is no such owner.")
        return self._slugs[owner]


def _array(values: Iterable[str | int]) -> str:
    """PostgreSQL's array literal, of ids in hexadecimal or of numbers."""
    return "{" + ",".join(map(str, values)) + "}"


def _slugs(tx: Transaction) -> dict[bytes, str]:
    return {UUID(str(uid)).bytes: slug for _, slug, uid in tx.rows("select * from hub.organisation_names()")}


def _holder(token: AccessToken | None, client: str) -> Holder:
    if token is None:
        return Holder(client.removeprefix("session:"))
    return Holder(token.session, token.client_id, token.organisation, token.purpose, token.case)
