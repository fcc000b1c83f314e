"""Split custody: n shares of a root key, of which any k restore it and k - 1 tell nothing (SLIP-0039, Shamir's secret sharing).

A share is 33 words of a list of 1,024: which set it is of, its number, how many are needed, 256 bits, and a checksum that notices
any three wrong words. Shares of one set begin with the same two words. Any other program for SLIP-0039 restores them too: one group,
no passphrase.
"""

import difflib
import hmac
from collections.abc import Sequence
from typing import Final

from shamir_mnemonic import MnemonicError, Share, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.wordlist import WORD_INDEX_MAP, WORDLIST

from hub.errors import InvalidRequest

MOST: Final = 16
WORDS: Final = 33


def split(root: bytes, needed: int, shares: int) -> list[str]:
    """Shares of the 32 bytes of `root`, each a line of words. A new set each time, which doesn't go with earlier ones.

    Raises:
        InvalidRequest: not 2 ≤ needed ≤ shares ≤ 16.
    """
    if len(root) != 32:
        raise ValueError("a root key is 32 bytes")
    if not 2 <= needed <= shares <= MOST:
        raise InvalidRequest(f"Between 2 and {MOST} shares can be made, and from 2 up to all of them be needed; not {needed} of {shares}.")
    # Without a passphrase there is nothing to be guessed that iterations would slow down.
    made: list[str] = generate_mnemonics(1, [(needed, shares)], root, iteration_exponent=0)[0]
    for some in (made[:needed], made[-needed:]):  # a backup that was never tried is none
        if not hmac.compare_digest(restore(some), root):
            raise AssertionError("these shares do not restore the key")
    return made


def name_of_set(share: str) -> str:
    """The two words that all shares of a set begin with."""
    return " ".join(share.split()[:2])


def restore(shares: Sequence[str], names: Sequence[str] | None = None) -> bytes:
    """The 32 bytes of the root key, from as many shares as are needed or more, in any order. All that are given must agree.

    `names` is what errors call the shares; without it, their number in the order given.

    Raises:
        InvalidRequest: too few, the same one twice, shares of several sets, or a word that is wrong; which, and what may be meant.
    """
    if not shares:
        raise InvalidRequest("No share was given.")
    called = list(names or (f"Share {number}" for number in range(1, len(shares) + 1)))
    read = [_read(text, name) for text, name in zip(shares, called, strict=True)]
    _one_set(read, called)
    needed = read[0].member_threshold
    if len(read) < needed:
        raise InvalidRequest(f"{needed} shares are needed to restore the key, {len(read)} {'was' if len(read) == 1 else 'were'} given.")
    texts = [share.mnemonic() for share in read]
    found = {_combined(texts[start : start + needed]) for start in range(len(texts) - needed + 1)}
    if len(found) > 1:
        raise InvalidRequest(_DISAGREE)
    return found.pop()


_DISAGREE: Final = "The shares are of one set by their words, but do not agree: one of them is forged or of another key."


def _read(text: str, name: str) -> Share:
    words = text.lower().split()
    if len(words) != WORDS:
        raise InvalidRequest(f"{name}: {len(words)} words, and a share has {WORDS}.")
    wrong = [_misspelt(place, word) for place, word in enumerate(words, 1) if word not in WORD_INDEX_MAP]
    if wrong:
        raise InvalidRequest(f"{name}: {'; '.join(wrong)}.")
    try:
        share = Share.from_mnemonic(" ".join(words))
    except MnemonicError:
        raise InvalidRequest(f"{name}: its words are in the list, but their checksum does not fit: some are wrong or swapped.") from None
    if share.group_count != 1 or share.member_threshold < 2 or len(share.value) != 32:
        raise InvalidRequest(f"{name}: a share of another kind than the hub makes.")
    return share


def _misspelt(place: int, word: str) -> str:
    near = difflib.get_close_matches(word, WORDLIST, 1, cutoff=0.5)
    return f"word {place}, {word!r}, is not in the list{f' (did you mean {near[0]}?)' if near else ''}"


def _one_set(shares: Sequence[Share], names: Sequence[str]) -> None:
    seen: dict[int, int] = {}
    for place, share in enumerate(shares):
        if share.group_parameters() != shares[0].group_parameters():
            raise InvalidRequest(
                f"{names[place]} is of another set than {names[0]}: "
                f"one begins with {name_of_set(share.mnemonic())!r}, the other with {name_of_set(shares[0].mnemonic())!r}."
            )
        earlier = seen.setdefault(share.index, place)
        if earlier != place:
            same = share == shares[earlier]
            raise InvalidRequest(f"{names[earlier]} and {names[place]} are the same share." if same else _DISAGREE)


def _combined(texts: list[str]) -> bytes:
    try:
        return bytes(combine_mnemonics(texts))
    except MnemonicError:
        raise InvalidRequest(_DISAGREE) from None
