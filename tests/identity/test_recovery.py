"""Recovery codes: good once, forgiving to type, and nothing to learn from them at rest or by trying."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from hub.identity import people, recovery
from hub.identity.people import Person

from .forgery import NOW

pytestmark = pytest.mark.db

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def test_there_are_ten_codes_of_eighty_bits_in_groups_that_can_be_read(writer: Engine, person: Person) -> None:
    codes = recovery.new_codes(writer, person.id)
    assert len(set(codes)) == recovery.left(writer, person.id) == 10
    for code in codes:
        assert [len(group) for group in code.split("-")] == [4, 4, 4, 4]  # 16 digits of 5 bits
        assert set(code.replace("-", "")) <= set(CROCKFORD)


def test_every_digit_of_the_alphabet_is_used(writer: Engine, person: Person) -> None:
    digits = "".join("".join(recovery.new_codes(writer, person.id)) for _ in range(10)).replace("-", "")
    assert set(digits) == set(CROCKFORD)  # 1,600 digits: one of the 32 is missing once in 10^20 runs


def test_a_code_works_once_and_for_its_person_alone(writer: Engine, person: Person, other: Person) -> None:
    codes = recovery.new_codes(writer, person.id)
    recovery.new_codes(writer, other.id)
    assert recovery.use(writer, other.handle, codes[0], NOW) is None
    assert recovery.use(writer, person.handle, codes[0], NOW) == person
    assert recovery.use(writer, person.handle, codes[0], NOW) is None
    assert recovery.use(writer, person.handle, codes[1], NOW) == person
    assert (recovery.left(writer, person.id), recovery.left(writer, other.id)) == (8, 10)


def test_of_many_who_use_a_code_at_once_one_gets_in(writer: Engine, person: Person) -> None:
    for code in recovery.new_codes(writer, person.id)[:5]:
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda _: recovery.use(writer, person.handle, code, NOW), range(6)))  # noqa: B023
        assert sorted(f is None for f in found) == [False, *[True] * 5]


def test_new_codes_void_the_older_ones(writer: Engine, person: Person, other: Person) -> None:
    old, theirs = recovery.new_codes(writer, person.id), recovery.new_codes(writer, other.id)
    recovery.use(writer, person.handle, old[0], NOW)
    new = recovery.new_codes(writer, person.id)
    assert recovery.left(writer, person.id) == 10
    assert recovery.use(writer, person.handle, old[1], NOW) is None
    assert recovery.use(writer, person.handle, new[1], NOW) == person
    assert recovery.use(writer, other.handle, theirs[1], NOW) == other


def test_codes_that_are_made_at_once_are_one_set(writer: Engine, person: Person) -> None:
    with ThreadPoolExecutor(4) as pool:
        sets = list(pool.map(lambda _: recovery.new_codes(writer, person.id), range(4)))
    assert recovery.left(writer, person.id) == 10
    assert sum(recovery.use(writer, person.handle, codes[0], NOW) is not None for codes in sets) == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    looks=st.lists(st.integers(0, 59), min_size=16, max_size=16),
    between=st.lists(st.sampled_from(["", "", "-", " ", "\t", "–"]), min_size=16, max_size=16),
    handle=st.sampled_from(["{}", " {} "]),
    loud=st.booleans(),
)
def test_a_code_may_be_typed_as_people_type(
    writer: Engine, person: Person, looks: list[int], between: list[str], handle: str, loud: bool
) -> None:
    code = recovery.new_codes(writer, person.id)[0].replace("-", "")
    choices = [{"0": "0Oo", "1": "1IiLl"}.get(c, c + c.lower()) for c in code]
    typed = "".join(same[look % len(same)] + gap for same, look, gap in zip(choices, looks, between, strict=True))
    named = handle.format(person.handle.upper() if loud else person.handle)
    assert recovery.use(writer, named, typed, NOW) == person


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_code_with_one_digit_wrong_or_missing_is_refused(writer: Engine, person: Person, data: st.DataObject) -> None:
    code = recovery.new_codes(writer, person.id)[0].replace("-", "")
    at = data.draw(st.integers(0, 15))
    wrong = data.draw(st.sampled_from([c for c in CROCKFORD + "U" if c != code[at]]))
    for typed in (code[:at] + wrong + code[at + 1 :], code[:at] + code[at + 1 :], code + wrong):
        assert recovery.use(writer, person.handle, typed, NOW) is None
    assert recovery.use(writer, person.handle, code, NOW) == person


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(handle=st.text(max_size=30) | st.just("\0"), code=st.text(max_size=40) | st.just("\ud800\0"))
def test_whatever_is_typed_is_nobody_s(writer: Engine, handle: str, code: str) -> None:
    assert recovery.use(writer, handle, code, NOW) is None


def test_a_disabled_person_s_code_is_refused(writer: Engine, person: Person) -> None:
    code = recovery.new_codes(writer, person.id)[0]
    people.disable(writer, person.handle, NOW)
    assert recovery.use(writer, person.handle, code, NOW) is None
    early = recovery.use(writer, person.handle, code, NOW - timedelta(microseconds=1))
    assert early
    assert early.id == person.id


def test_the_same_statements_are_executed_whether_or_not_there_is_such_a_person(writer: Engine, person: Person) -> None:
    recovery.new_codes(writer, person.id)
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    sa.event.listen(writer, "before_cursor_execute", note)
    try:
        asked = []
        for handle in (person.handle, f"nobody.{uuid4().hex}", "", "not a handle", "\0"):
            seen.clear()
            assert recovery.use(writer, handle, "0000-0000-0000-0000", NOW) is None
            asked.append(list(seen))
    finally:
        sa.event.remove(writer, "before_cursor_execute", note)
    assert len(asked[0]) == 1  # the control: they are seen
    assert asked == [asked[0]] * 5


def test_at_rest_there_are_hashes_alone(writer: Engine, person: Person) -> None:
    codes = recovery.new_codes(writer, person.id)
    with writer.connect() as connection:
        rows = connection.scalars(sa.text("select code_hash from hub.recovery_codes where person = :p"), {"p": person.id}).all()
    assert {bytes(row) for row in rows} == {hashlib.sha256(code.replace("-", "").encode()).digest() for code in codes}
