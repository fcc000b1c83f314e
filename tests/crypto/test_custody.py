"""Split custody: any k of n shares restore the root key, fewer tell nothing, and what is wrong with a share is said in one sentence."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic import Share
from shamir_mnemonic.wordlist import WORDLIST

from hub.crypto import custody
from hub.crypto.custody import MOST, WORDS, name_of_set, restore, split
from hub.errors import InvalidRequest

ROOT = bytes(range(32))
GOLDEN = [
    "rebuild again academic acid animal belong learn oasis liberty forget scared flip transfer python shaft coding scramble "
    "steady envelope pharmacy species fragment island acrobat greatest medical class cage cleanup view hawk grin diet",
    "rebuild again academic agency aircraft peasant equip elegant skunk lyrics lyrics fangs holiday mixed guitar smell sniff "
    "curious traveler quick crazy dance advocate freshman retreat toxic document employer listen yelp speak overall metric",
    "rebuild again academic always alien visitor amuse critical average drug furl evening famous radar moisture volume type "
    "infant become temple decision early pacific repair scroll stick bedroom salt gross teaspoon clinic aide expect",
]
"""Made once of ROOT, any 2 of 3. Shares lie in safes for years: whatever version restores them, they must open."""
SPLIT = split(ROOT, 3, 5)


def refusal(shares: list[str], names: list[str] | None = None) -> str:
    with pytest.raises(InvalidRequest) as refused:
        restore(shares, names)
    assert refused.value.__cause__ is None
    return str(refused.value)


def with_word(share: str, place: int, word: str) -> str:
    words = share.split()
    words[place - 1] = word
    return " ".join(words)


@st.composite
def splits(draw: st.DrawFn, least: int = 2) -> tuple[bytes, int, list[str], random.Random]:
    """A root key, how many shares are needed, the shares, and a way to choose among them."""
    shares = draw(st.integers(least, MOST))
    needed = draw(st.integers(least, shares))
    root = draw(st.binary(min_size=32, max_size=32))
    return root, needed, split(root, needed, shares), draw(st.randoms(use_true_random=False))


# --- shares that fit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("some", [(0, 1), (1, 2), (2, 0), (0, 1, 2)])
def test_golden_shares_of_version_1_still_restore(some: tuple[int, ...]) -> None:
    assert restore([GOLDEN[place] for place in some]) == ROOT


@settings(max_examples=60, deadline=None)
@given(splits())
def test_any_k_shares_or_more_restore_the_key_in_any_order(drawn: tuple[bytes, int, list[str], random.Random]) -> None:
    root, needed, shares, choice = drawn
    for count in {needed, choice.randint(needed, len(shares)), len(shares)}:
        assert restore(choice.sample(shares, count)) == root


@settings(max_examples=60, deadline=None)
@given(splits())
def test_k_minus_1_shares_do_not_restore_the_key(drawn: tuple[bytes, int, list[str], random.Random]) -> None:
    _, needed, shares, choice = drawn
    given_ = choice.sample(shares, needed - 1)
    assert refusal(given_).startswith(f"{needed} shares are needed to restore the key, {needed - 1} w")


@settings(max_examples=30, deadline=None)
@given(splits(least=3))
def test_k_minus_1_shares_that_claim_to_be_enough_do_not_restore_the_key(drawn: tuple[bytes, int, list[str], random.Random]) -> None:
    _, needed, shares, choice = drawn
    parsed = [Share.from_mnemonic(share) for share in choice.sample(shares, needed - 1)]
    assert "do not agree" in refusal([replace(share, member_threshold=needed - 1).mnemonic() for share in parsed])


def test_a_share_holds_none_of_the_key() -> None:
    shares = [Share.from_mnemonic(share) for share in split(ROOT, 2, 16)]
    assert len({share.value for share in shares}) == 16
    assert not any(ROOT[start : start + 4] in share.value for share in shares for start in range(29))


def test_shares_of_a_set_share_their_name_and_each_set_is_new() -> None:
    assert len({name_of_set(share) for share in SPLIT}) == 1
    assert {len(share.split()) for share in SPLIT} == {WORDS}
    assert not set(split(ROOT, 3, 5)) & set(SPLIT)


def test_capitals_and_spaces_do_not_matter() -> None:
    assert restore([f"  {share.upper()}\n" for share in SPLIT[:3]]) == ROOT
    assert restore([share.replace(" ", "\n\t") for share in SPLIT[2:]]) == ROOT


@pytest.mark.parametrize(("needed", "shares"), [(1, 1), (1, 5), (0, 3), (4, 3), (2, 17), (-1, -1), (2, 1)])
def test_numbers_of_shares_that_make_no_sense_are_refused(needed: int, shares: int) -> None:
    with pytest.raises(InvalidRequest, match=f"not {needed} of {shares}"):
        split(ROOT, needed, shares)


@pytest.mark.parametrize("root", [b"", bytes(16), bytes(33)])
def test_what_is_no_root_key_is_not_split(root: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        split(root, 2, 3)


def test_shares_that_do_not_restore_the_key_are_never_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custody, "generate_mnemonics", lambda *_a, **_k: [list(SPLIT)])  # of another key
    with pytest.raises(AssertionError, match="do not restore"):
        split(bytes(32), 3, 5)


# --- shares that don't -------------------------------------------------------------------------------------------------


def test_no_share_at_all_is_refused() -> None:
    assert refusal([]) == "No share was given."


def test_too_few_shares_say_how_many_are_needed() -> None:
    assert refusal(SPLIT[:2]) == "3 shares are needed to restore the key, 2 were given."
    assert refusal(SPLIT[:1]) == "3 shares are needed to restore the key, 1 was given."


def test_the_same_share_twice_is_refused() -> None:
    assert refusal([SPLIT[0], SPLIT[1], SPLIT[0].upper()]) == "Share 1 and Share 3 are the same share."
    assert refusal([SPLIT[0], SPLIT[0]], ["a.txt", "b.txt"]) == "a.txt and b.txt are the same share."


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.integers(1, 2))
def test_shares_of_two_sets_are_refused_and_named(root: bytes, mine: int) -> None:
    other = split(root, 3, 5)
    told = refusal([*SPLIT[:mine], *other[mine:3]], [f"{n}.txt" for n in range(3)])
    assert told.startswith(f"{mine}.txt is of another set than 0.txt")
    assert repr(name_of_set(other[0])) in told
    assert repr(name_of_set(SPLIT[0])) in told


def test_a_newer_set_of_the_same_key_does_not_go_with_an_older() -> None:
    assert "of another set" in refusal([*SPLIT[:2], split(ROOT, 3, 5)[2]])


def forged(share: str, **changed: Any) -> str:
    """A share with a checksum that fits what was changed."""
    return str(replace(Share.from_mnemonic(share), **changed).mnemonic())


def test_a_forged_share_is_noticed_also_among_more_than_are_needed() -> None:
    wrong = forged(SPLIT[1], value=bytes(32))
    for shares in ([SPLIT[0], wrong, SPLIT[2]], [*SPLIT[2:], wrong], [wrong, *SPLIT[2:]]):
        assert "do not agree" in refusal(shares)


def test_two_different_shares_of_one_number_are_refused() -> None:
    assert "do not agree" in refusal([*SPLIT[:3], forged(SPLIT[0], value=bytes(32))])


def test_another_polynomial_through_enough_of_its_own_shares_is_noticed() -> None:
    """Six shares of which three restore one key and three another: each half is consistent."""
    other = [Share.from_mnemonic(share) for share in split(bytes(32), 3, 6)]
    identifier = Share.from_mnemonic(SPLIT[0]).identifier
    assert "do not agree" in refusal([*SPLIT[:3], *(replace(share, identifier=identifier).mnemonic() for share in other[3:])])


@settings(max_examples=200, deadline=None)
@given(st.integers(1, WORDS), st.sampled_from(WORDLIST))
def test_a_word_that_is_another_of_the_list_is_noticed(place: int, word: str) -> None:
    if SPLIT[0].split()[place - 1] != word:
        assert "checksum does not fit" in refusal([with_word(SPLIT[0], place, word), *SPLIT[1:3]])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, WORDS - 2))
def test_two_words_that_changed_places_are_noticed(place: int) -> None:
    words = SPLIT[0].split()
    if words[place] != words[place + 1]:
        words[place], words[place + 1] = words[place + 1], words[place]
        assert "checksum does not fit" in refusal([" ".join(words), *SPLIT[1:3]])


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(range(3)), st.integers(1, WORDS), st.integers(0, 3), st.sampled_from("bxz"))
def test_a_misspelt_word_is_named_by_its_place_and_the_nearest_word_suggested(share: int, place: int, letter: int, wrong: str) -> None:
    right = SPLIT[share].split()[place - 1]
    misspelt = right[:letter] + wrong + right[letter + 1 :]
    if misspelt in WORDLIST:
        return
    given_ = [with_word(text, place, misspelt) if n == share else text for n, text in enumerate(SPLIT[:3])]
    told = refusal(given_)
    assert told.startswith(f"Share {share + 1}: word {place}, {misspelt!r}, is not in the list")
    assert "did you mean " in told or len(right) == 4


def test_the_nearest_word_is_the_right_one_where_one_letter_is_wrong() -> None:
    share = with_word(with_word(SPLIT[0], 7, "akademic"), 9, "qqqq")
    told = "a.txt: word 7, 'akademic', is not in the list (did you mean academic?); word 9, 'qqqq', is not in the list."
    assert refusal([share], ["a.txt"]) == told


@pytest.mark.parametrize("text", ["", "academic", " ".join(["academic"] * 20), f"{SPLIT[0]} academic"])
def test_another_number_of_words_is_refused(text: str) -> None:
    assert refusal([text]) == f"Share 1: {len(text.split())} words, and a share has 33."


@pytest.mark.parametrize("changed", [{"group_count": 2}, {"group_count": 2, "group_threshold": 2}, {"member_threshold": 1}])
def test_a_share_of_another_kind_is_refused(changed: dict[str, int]) -> None:
    assert "of another kind" in refusal([forged(SPLIT[0], **changed)])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=300) | st.lists(st.sampled_from(WORDLIST), min_size=WORDS, max_size=WORDS).map(" ".join), max_size=4))
def test_arbitrary_texts_are_no_shares(texts: list[str]) -> None:
    refusal(texts)
