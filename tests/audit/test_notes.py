"""Signed notes, checkpoints and cosignatures: the form that C2SP defines, and everything else refused."""

import base64
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from hub.audit.notes import LOG, WITNESS, BadNote, Checkpoint, Cosigner, Note, Signature, Signer, VerifierKey

LOG_KEY, OTHER, PARTNER = (
    Signer("hub.example/audit", bytes(32)),
    Signer("hub.example/audit", bytes(31) + b"1"),
    Cosigner("harbour", b"w" * 32),
)
POINT = Checkpoint("hub.example/audit", 42, bytes(range(32)))
TEXT = str(POINT)


def test_a_checkpoint_is_written_as_the_specification_says() -> None:
    assert f"hub.example/audit\n42\n{base64.b64encode(bytes(range(32))).decode()}\n" == TEXT
    assert Checkpoint.read(TEXT) == POINT
    assert Checkpoint.read(TEXT + "an extension\n") == POINT


def test_a_note_is_written_as_the_specification_says_and_its_signature_verifies_by_its_form_alone() -> None:
    note = str(Note(TEXT, [LOG_KEY.sign(TEXT)]))
    text, line = note.split("\n\n")
    dash, name, encoded = line.rstrip("\n").split(" ")
    raw = base64.b64decode(encoded)
    assert (dash, name, len(raw)) == ("—", "hub.example/audit", 68)
    Ed25519PublicKey.from_public_bytes(LOG_KEY.key.public).verify(raw[4:], (text + "\n").encode())
    assert Note.read(note).signed_by(LOG_KEY.key)
    assert str(Note.read(note)) == note


def test_a_cosignature_covers_its_time_and_is_no_signature_of_a_log() -> None:
    signature = PARTNER.sign(TEXT, 1_790_000_000)
    said = b"cosignature/v1\ntime 1790000000\n" + TEXT.encode()
    Ed25519PublicKey.from_public_bytes(PARTNER.key.public).verify(signature.value[8:], said)
    note = Note(TEXT, [LOG_KEY.sign(TEXT), signature])
    assert note.cosigned_at(PARTNER.key) == 1_790_000_000
    later = Signature(signature.name, signature.key_id, (1_790_000_001).to_bytes(8, "big") + signature.value[8:])
    assert Note(TEXT, [later]).cosigned_at(PARTNER.key) is None
    assert note.cosigned_at(LOG_KEY.key) is None


def test_another_key_of_the_same_name_signs_nothing() -> None:
    note = Note(TEXT, [OTHER.sign(TEXT)])
    assert not note.signed_by(LOG_KEY.key)
    forged = Signature(LOG_KEY.key.name, LOG_KEY.key.id, OTHER.sign(TEXT).value)
    assert not Note(TEXT, [forged]).signed_by(LOG_KEY.key)


@given(st.integers(0, len(TEXT) - 2), st.integers(1, 126))
def test_a_text_that_was_changed_does_not_verify(at: int, by: int) -> None:
    changed = TEXT[:at] + chr((ord(TEXT[at]) ^ by) % 127) + TEXT[at + 1 :]
    assert (changed == TEXT) or not Note(changed, [LOG_KEY.sign(TEXT), PARTNER.sign(TEXT, 5)]).signed_by(LOG_KEY.key)
    assert (changed == TEXT) or Note(changed, [PARTNER.sign(TEXT, 5)]).cosigned_at(PARTNER.key) is None


@pytest.mark.parametrize("signer", [LOG_KEY, PARTNER])
def test_a_verifier_key_is_read_back(signer: Signer | Cosigner) -> None:
    assert VerifierKey.read(f" {signer.key}\n") == signer.key
    assert signer.key.kind in (LOG, WITNESS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+AAAA",
        str(LOG_KEY.key).replace("hub", "hab"),
        str(LOG_KEY.key)[:-4],
        "a b" + str(LOG_KEY.key)[3:],
        str(LOG_KEY.key).replace("+AT", "+AD"),
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(BadNote):
        VerifierKey.read(text)


LINE = LOG_KEY.sign(TEXT).line()


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT,
        TEXT + LINE,
        TEXT + "\n",
        TEXT + "\n" + LINE.rstrip("\n"),
        TEXT + "\n" + LINE.replace("— ", "- "),
        TEXT + "\n" + LINE.replace(" ", "  ", 1),
        TEXT + "\n" + "— name AAAA\n",
        TEXT + "\n" + LINE.replace("\n", "=\n"),
        TEXT.replace("4", "\x004") + "\n" + LINE,
        TEXT + "\n" + LINE * 65,
        "x" * 70_000,
    ],
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(BadNote):
        Note.read(note)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n1\n",
        "o\n01\nAAAA\n",
        "o\n-1\nAAAA\n",
        "\n1\n" + "A" * 43 + "=\n",
        "o\n1\nAAAA\n",
        f"o\n{10**19}\n" + "A" * 43 + "=\n",
        "o\n1\n!\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(BadNote):
        Checkpoint.read(text)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (Note.read, Checkpoint.read, VerifierKey.read):
        with suppress(BadNote):
            read(text)


@pytest.mark.parametrize(
    ("at", "counts"), [(0, True), (253_402_300_799, True), (253_402_300_800, False), (10**13, False), (2**64 - 1, False)]
)
def test_a_cosignature_of_a_time_that_is_none_counts_for_nothing(at: int, counts: bool) -> None:
    witness, text = Cosigner("clinic.example/witness", bytes(32)), str(Checkpoint("log.example/audit", 3, bytes(32)))
    assert Note(text, [witness.sign(text, at)]).cosigned_at(witness.key) == (at if counts else None)
    assert Note(text, [witness.sign(text, at), witness.sign(text, 7)]).cosigned_at(witness.key) == max(7, at if counts else 0)
