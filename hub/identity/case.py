"""Case references: which case of its own a reader works on. Kept in the log as it was said; the hub knows no cases."""

MAX_CASE = 100
CASE_FORM = f"1 to {MAX_CASE} printable characters, no space at either end"


def is_case(text: str) -> bool:
    """Whether `text` can stand in the log, and on a page, as what it looks like: nothing invisible in it, nothing that turns it round."""
    return 0 < len(text) <= MAX_CASE and text.isprintable() and text == text.strip()
