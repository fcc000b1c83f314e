"""What a reader can hold against the log later: the leaf of its access, as the key process signed it (docs/reference/audit-leaf.md)."""

from base64 import b64encode

from hub.leaf_chain import Signed

HEADER = "Audit-Receipt"


def receipt(signed: Signed) -> dict[str, str]:
    """The header, a dictionary of structured fields (RFC 9651 §3.2)."""
    parts = {"leaf": signed.leaf_hash, "chain": signed.chain, "key": signed.key, "signature": signed.signature}
    said = ", ".join(f"{name}=:{b64encode(value).decode()}:" for name, value in parts.items())
    return {HEADER: f'event="{signed.event}", n={signed.n}, {said}'}
