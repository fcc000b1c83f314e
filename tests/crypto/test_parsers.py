"""What reads bytes from outside takes what was written and refuses everything else in its own words: whatever the bytes, there is no other
error. Fields, data keys and wrapped keys: also in test_envelope.py and test_providers.py; shares: test_custody.py; messages: tests/keyd.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.crypto import providers
from hub.crypto.envelope import DEK_ROW_BYTES, Context, FieldKey, Kek, open_field, rewrap_dek, seal_field, unwrap_dek, wrap_dek
from hub.crypto.providers import IN_FILE, IN_HSM, parts, read_root, write_root
from hub.crypto.roots import pin_of
from hub.errors import Refused, Tampered

GOLDEN = json.loads((Path(__file__).parent / "golden" / "version1.json").read_text(encoding="utf-8"))
PASSPHRASE, ROOT = "Übung macht den Meister", bytes(range(32))
OLD, NEW, NONCE = Kek(9, bytes([1]) * 32), Kek(10, bytes([5]) * 32), bytes([6]) * 12
CONTEXT = Context(b"owner-of-sixteen", b"record-no-000001", cls=3, rev=7)
ROW, K32 = wrap_dek(OLD, bytes([2]) * 32, bytes([3]) * 12, CONTEXT)
FIELD = seal_field(FieldKey(K32), b"narrative", bytes([4]) * 12, CONTEXT, 4, 1)


def flips(blob: bytes) -> Iterator[bytes]:
    for bit in range(len(blob) * 8):
        yield (int.from_bytes(blob, "big") ^ (1 << bit)).to_bytes(len(blob), "big")


@st.composite
def spliced(draw: st.DrawFn, blob: bytes) -> bytes:
    """The blob with a piece of it taken out and some other bytes put in."""
    start = draw(st.integers(0, len(blob)))
    end = draw(st.integers(start, min(len(blob), start + 40)))
    return blob[:start] + draw(st.binary(max_size=40)) + blob[end:]


# --- data keys and fields ----------------------------------------------------------------------------------------------


@given(spliced(ROW), spliced(FIELD))
def test_a_data_key_or_field_of_which_a_piece_is_exchanged_is_refused(row: bytes, blob: bytes) -> None:
    if row != ROW:
        with pytest.raises(Tampered):
            unwrap_dek(OLD, row, CONTEXT)
    if blob != FIELD:
        with pytest.raises(Tampered):
            open_field(FieldKey(K32), blob, CONTEXT, 4, 1)


@given(st.binary(max_size=200) | st.binary(min_size=92, max_size=92).map(lambda rest: b"\1\1\0\0\0\x09" + rest))
def test_arbitrary_bytes_are_not_rewrapped(row: bytes) -> None:
    with pytest.raises(Tampered):
        rewrap_dek(OLD, NEW, row, NONCE, CONTEXT)


def test_a_data_key_with_any_bit_flipped_is_not_rewrapped_or_does_not_open_after() -> None:
    """Rewrapping carries the commitment over without looking at it: whoever unwraps does."""
    for bit, row in enumerate(flips(ROW)):
        if bit >= 32 * 8:  # before the commitment, which is last; flips begin with the last bit
            with pytest.raises(Tampered):
                rewrap_dek(OLD, NEW, row, NONCE, CONTEXT)
        else:
            with pytest.raises(Tampered, match="commitment"):
                unwrap_dek(NEW, rewrap_dek(OLD, NEW, row, NONCE, CONTEXT), CONTEXT)
    assert unwrap_dek(NEW, rewrap_dek(OLD, NEW, ROW, NONCE, CONTEXT), CONTEXT) == K32


@pytest.mark.parametrize(
    "context",
    [
        Context(b"owner-of-another", b"record-no-000001", 3, 7),
        Context(b"owner-of-sixteen", b"record-no-000002", 3, 7),
        Context(b"owner-of-sixteen", b"record-no-000001", 4, 7),
        Context(b"owner-of-sixteen", b"record-no-000001", 3, 8),
    ],
)
def test_a_data_key_of_another_place_or_kek_is_not_rewrapped(context: Context) -> None:
    for old, where in ((OLD, context), (NEW, CONTEXT), (Kek(9, bytes(32)), CONTEXT)):
        with pytest.raises(Tampered):
            rewrap_dek(old, NEW, ROW, NONCE, where)
    with pytest.raises(Tampered):
        rewrap_dek(NEW, OLD, ROW[:2] + pack(">I", 10) + ROW[6:], NONCE, CONTEXT)
    assert len(ROW) == DEK_ROW_BYTES


# --- wrapped key-encryption keys ---------------------------------------------------------------------------------------


@given(st.binary(max_size=130) | st.tuples(st.sampled_from([IN_FILE, IN_HSM]), st.binary(max_size=70)).map(b"".join))
def test_bytes_are_a_wrapped_key_of_their_place_or_refused(blob: bytes) -> None:
    for header in (IN_FILE, IN_HSM):
        try:
            nonce, sealed = parts(blob, header)
        except Tampered:
            assert len(blob) != 62 or blob[:2] != header
        else:
            assert (len(nonce), len(sealed), header + nonce + sealed) == (12, 48, blob)


# --- the key file ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _quick() -> Iterator[None]:
    """Without the stretching, which takes a tenth of a second for every salt."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(providers, "Scrypt", lambda **given: Scrypt(**{**given, "n": 2}))
        yield


def read(content: bytes) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "root.key"
        path.write_bytes(content)
        path.chmod(0o600)
        return read_root(path, PASSPHRASE)


@pytest.fixture(scope="module")
def key_file(_quick: None, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("key") / "root.key"
    write_root(path, PASSPHRASE, ROOT)
    return path.read_bytes()


def test_a_key_file_with_any_bit_flipped_is_refused(key_file: bytes) -> None:
    assert read(key_file) == ROOT
    for content in flips(key_file):
        with pytest.raises(Refused, match=r"^The (root key file|passphrase does not open)"):
            read(content)


@settings(deadline=None)
@given(st.data())
def test_arbitrary_bytes_and_a_file_of_which_a_piece_is_exchanged_are_no_key_file(key_file: bytes, data: st.DataObject) -> None:
    whole = st.binary(max_size=200) | st.binary(min_size=76, max_size=76).map(lambda rest: b"\1\1" + rest) | spliced(key_file)
    content = data.draw(whole)
    if content != key_file:
        with pytest.raises(Refused, match=r"^The .*\.$"):
            read(content)


# --- the HSM's PIN -----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.binary(max_size=1_100) | st.text(max_size=40).map(str.encode))
def test_a_pin_file_is_one_line_or_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "root.pin"
        path.write_bytes(content)
        path.chmod(0o600)
        if (found := pin_or_refusal(Path(folder))) is not None:
            assert found
            assert content in (found.encode(), found.encode() + b"\n")


def pin_or_refusal(folder: Path) -> str | None:
    try:
        return pin_of(folder, None)
    except Refused as refused:
        if "is not one line with a PIN" in str(refused):
            return None
        raise
