"""crypto.floor, crypto.fernet and crypto.tink: opening 10,002 fields of 64 B, six to a record, in four ways, in turn.

    ours     a DEK row unwrapped, its commitment compared, six fields opened: what hub/crypto does for one class of a record's revision
    floor    AES-256-GCM in C for as many messages of 64 B under one kept key, with additional data as long as ours (floor.c, this process)
    Fernet   of the cryptography package, one kept key
    Tink     KmsEnvelopeAead: a wrapped data key for each field; the key that wraps them is local, so nothing waits for a network

Times are of this thread on its processor, since others work on the machine; each round gives ratios, and the figure is their median. Every
text that comes out is compared.
"""

import ctypes
import gc
import os
import shutil
import statistics
import subprocess
from collections.abc import Callable
from ctypes.util import find_library
from functools import partial
from pathlib import Path
from time import thread_time
from typing import Any

import tink
from cryptography.fernet import Fernet
from tink import aead

from hub.crypto.envelope import AESGCM, Context, FieldKey, Kek, open_field, seal_field, unwrap_dek, wrap_dek
from tests.bench.setting import HOME

RECORDS, EACH, SIZE, ROUNDS = 1_667, 6, 64, 21
FIELDS = RECORDS * EACH
TEXTS = [os.urandom(SIZE) for _ in range(FIELDS)]
SOURCE = Path(__file__).with_name("floor.c")
Way = Callable[[], Any]


def run() -> list[dict[str, Any]]:
    """The figures of this part."""
    ours, blobs, keys, aads = _ours()
    ways: dict[str, Way] = {"ours": ours, "fernet": _fernet(), "tink": _tink(aads)}
    built = _built()
    if built is not None:
        one = os.urandom(32)
        ways["floor"] = _floor(built, [one], FIELDS, SIZE, aads, [_sealed(one, text, aad) for text, aad in zip(TEXTS, aads, strict=True)])
        ways["same"] = _floor(built, keys, EACH, 128, aads, [blob[3:] for blob in blobs])  # the very ciphertexts, padded, under their keys
    times = _rounds(ways)
    note = f"{FIELDS:,} fields of {SIZE} B in {RECORDS:,} records, {ROUNDS} rounds"
    figures = [] if built is None else [_line("crypto.floor", times["ours"], times["floor"], 7.0, "≤", f"ours ÷ C, one key; {note}")]
    if built is None:
        figures.append(
            _line("crypto.floor", times["ours"], times["ours"], None, "≤", "not measured: there is no C compiler or no libcrypto")
        )
    else:
        figures.append(_line("crypto.floor.same", times["ours"], times["same"], None, "≤", "÷ C, the same keys and padded ciphertexts"))
    figures.append(_line("crypto.fernet", times["fernet"], times["ours"], 5.0, "≥", "Fernet ÷ ours"))
    figures.append(_line("crypto.tink", times["tink"], times["ours"], 3.5, "≥", "Tink's KMS envelope, local KEK ÷ ours"))
    return figures


def _rounds(ways: dict[str, Way]) -> dict[str, list[float]]:
    """Milliseconds of each way, round by round; the first round only warms up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for n in range(ROUNDS + 1):
        for name, way in ways.items():
            gc.collect()  # or a collection of all that this process holds falls to one of them
            began = thread_time()
            found = way()
            took = (thread_time() - began) * 1e3
            if name == "floor":
                raw = found.raw
                found = [raw[at : at + SIZE] for at in range(0, FIELDS * SIZE, SIZE)]
            if name != "same" and found != TEXTS:
                raise RuntimeError(f"void: {name} opens to another text")
            if n:
                times[name].append(took)
    return times


def _line(name: str, value: list[float], reference: list[float], goal: float | None, sign: str, note: str) -> dict[str, Any]:
    ratio = statistics.median(v / r for v, r in zip(value, reference, strict=True))
    met = None if goal is None else (ratio <= goal if sign == "≤" else ratio >= goal)
    ms = {"value": round(statistics.median(value), 2), "reference": round(statistics.median(reference), 2), "unit": "ms CPU"}
    return {"name": name, **ms, "ratio": round(ratio, 2), "goal": goal, "sign": sign, "met": met, "note": note}


def _ours() -> tuple[Way, list[bytes], list[bytes], list[bytes]]:
    """How we open, our ciphertexts, the keys they are sealed with (one for each record), and their additional data."""
    kek, owner = Kek(9, os.urandom(32)), os.urandom(16)
    rows, blobs, keys, aads, records = [], [], [], [], [os.urandom(16) for _ in range(RECORDS)]
    for n, record in enumerate(records):
        context = Context(owner, record, 3, 1)
        row, key = wrap_dek(kek, os.urandom(32), os.urandom(12), context)
        rows.append(row)
        keys.append(key)
        for field in range(EACH):
            blobs.append(seal_field(FieldKey(key), TEXTS[EACH * n + field], os.urandom(12), context, field, 1))
            aads.append(context.field_aad + bytes((0, field, 0, 1, 0, 0, 0, 1)))

    def opened() -> list[bytes]:
        found, at = [], 0
        for record, row in zip(records, rows, strict=True):
            context = Context(owner, record, 3, 1)
            key = FieldKey(unwrap_dek(kek, row, context))
            for field in range(EACH):
                found.append(open_field(key, blobs[at], context, field, 1))
                at += 1
        return found

    return opened, blobs, keys, aads


def _sealed(key: bytes, text: bytes, aad: bytes) -> bytes:
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, text, aad)


def _fernet() -> Way:
    box = Fernet(Fernet.generate_key())
    tokens = [box.encrypt(text) for text in TEXTS]
    return lambda: [box.decrypt(token) for token in tokens]


def _tink(aads: list[bytes]) -> Way:
    aead.register()
    template = aead.aead_key_templates.AES256_GCM
    envelope = aead.KmsEnvelopeAead(template, tink.new_keyset_handle(template).primitive(aead.Aead))
    sealed = [(envelope.encrypt(text, aad), aad) for text, aad in zip(TEXTS, aads, strict=True)]
    return lambda: [envelope.decrypt(blob, aad) for blob, aad in sealed]


def _built() -> Callable[..., int] | None:
    """The loop in C. Called field by field from Python, the calls would cost more than the cipher; `openssl speed -aead` takes about twice
    as long for a message as this loop, which would flatter us.
    """
    compiler, library = shutil.which("cc"), find_library("crypto")
    if compiler is None or library is None:
        return None
    HOME.mkdir(parents=True, exist_ok=True)
    made = HOME / "floor.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(made), str(SOURCE), f"-l:{library}"], check=True)
    found: Callable[..., int] = ctypes.CDLL(str(made)).open_all
    return found


def _floor(built: Callable[..., int], keys: list[bytes], each: int, size: int, aads: list[bytes], messages: list[bytes]) -> Way:
    out = ctypes.create_string_buffer(FIELDS * size)
    ask = partial(built, FIELDS, each, size, len(aads[0]), b"".join(keys), b"".join(aads), b"".join(messages), out)

    def opened() -> Any:
        if ask() != FIELDS:
            raise RuntimeError("void: a message doesn't verify")
        return out

    return opened
