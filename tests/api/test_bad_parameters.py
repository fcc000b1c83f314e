"""What a reader asks wrong: one clear answer that names the parameter; what is unusual but right is answered."""

from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.api.asking import EARTH, ITEMS, MAP, ask, bearer, nothing_stored, problem
from tests.world import World, feature

AREA = MAP.partition("?")[0]
NUL = "%00"
OTHER_DIGITS = "%D9%A1%D9%A0"  # Arabic-Indic: ten

REFUSED: dict[str, tuple[str, str, str]] = {
    "unknown": ("colour=red", "colour", "not a parameter"),
    "unknown, empty": ("=1", "", "not a parameter"),
    "near the right name": ("Bbox=1,2,3,4", "Bbox", "not a parameter"),
    "an argument of another resource": ("purpose=research", "purpose", "not a parameter"),
    "a sealed field": ("narrative=x", "narrative", "not a parameter"),
    "unknown, long": (f"{'x' * 50_000}=1", "x" * 100, "not a parameter"),
    "twice": ("limit=1&limit=1", "limit", "twice"),
    "limit 0": ("limit=0", "limit", "from 1 to 1000"),
    "limit -1": ("limit=-1", "limit", "from 1 to 1000"),
    "limit beyond the most": ("limit=1001", "limit", "from 1 to 1000"),
    "limit 10⁹": ("limit=1000000000", "limit", "from 1 to 1000"),
    "limit 10³⁰": (f"limit={10**30}", "limit", "whole number"),
    "limit of 5,000 digits": (f"limit={'1' * 5_000}", "limit", "whole number"),
    "limit 1.5": ("limit=1.5", "limit", "whole number"),
    "limit 1e2": ("limit=1e2", "limit", "whole number"),
    "limit 1_0": ("limit=1_0", "limit", "whole number"),
    "limit +1": ("limit=%2B1", "limit", "whole number"),
    "limit with a space": ("limit=%201", "limit", "whole number"),
    "limit in other digits": (f"limit={OTHER_DIGITS}", "limit", "whole number"),
    "limit superscript": ("limit=%C2%B2", "limit", "whole number"),
    "limit empty": ("limit=", "limit", "whole number"),
    "limit as a word": ("limit=ten", "limit", "whole number"),
    "limit with NUL": (f"limit=1{NUL}", "limit", "whole number"),
    "bbox of 3": ("bbox=1,2,3", "bbox", "four numbers"),
    "bbox of 6": ("bbox=1,2,0,3,4,9", "bbox", "four numbers"),
    "bbox of 4,000": (f"bbox={','.join('1' * 4_000)}", "bbox", "four numbers"),
    "bbox empty": ("bbox=", "bbox", "four numbers"),
    "bbox with a hole": ("bbox=1,,3,4", "bbox", "four numbers"),
    "bbox with words": ("bbox=a,b,c,d", "bbox", "four numbers"),
    "bbox with NaN": ("bbox=NaN,2,3,4", "bbox", "four numbers"),
    "bbox with Infinity": ("bbox=-Infinity,-90,inf,90", "bbox", "four numbers"),
    "bbox with 1e999": ("bbox=-1e999,-90,1e999,90", "bbox", "outside"),
    "bbox with 0x10": ("bbox=0x10,2,3,4", "bbox", "four numbers"),
    "bbox with 1_0": ("bbox=1_0,2,3,4", "bbox", "four numbers"),
    "bbox in other digits": (f"bbox={OTHER_DIGITS},2,3,4", "bbox", "four numbers"),
    "bbox with semicolons": ("bbox=1;2;3;4", "bbox", "four numbers"),
    "bbox upside down": ("bbox=1,4,3,2", "bbox", "upside down"),
    "bbox outside the earth": ("bbox=-181,-90,180,90", "bbox", "outside"),
    "bbox in metres": ("bbox=630000,4830000,640000,4840000", "bbox", "outside"),
    "bbox with NUL": (f"bbox=1,2,3,4{NUL}", "bbox", "four numbers"),
    "datetime empty": ("datetime=", "datetime", "zone"),
    "datetime as a date": ("datetime=2021-03-04", "datetime", "zone"),
    "datetime naive": ("datetime=2021-03-04T13:37:11", "datetime", "zone"),
    "datetime as a number": ("datetime=1700000000", "datetime", "zone"),
    "datetime as a word": ("datetime=now", "datetime", "zone"),
    "datetime of a day that is not": ("datetime=2021-02-29T00:00:00Z", "datetime", "zone"),
    "datetime of the year 0": ("datetime=0000-01-01T00:00:00Z", "datetime", "zone"),
    "datetime before the year 1 in UTC": ("datetime=0001-01-01T00:00:00%2B00:01", "datetime", "zone"),
    "datetime after the year 9999 in UTC": ("datetime=9999-12-31T23:59:59-00:01/..", "datetime", "zone"),
    "datetime backwards": ("datetime=2021-03-04T13:37:11Z/2021-03-04T13:37:10Z", "datetime", "before it begins"),
    "datetime open at both ends": ("datetime=../..", "datetime", "interval"),
    "datetime of nothing and nothing": ("datetime=/", "datetime", "interval"),
    "datetime of three": ("datetime=../2021-03-04T13:37:11Z/..", "datetime", "interval"),
    "datetime as ISO duration": ("datetime=2021-03-04T13:37:11Z/P1D", "datetime", "zone"),
    "datetime with NUL": (f"datetime=2021-03-04T13:37:11Z{NUL}", "datetime", "zone"),
    "datetime with a plus that is a space": ("datetime=2021-03-04T13:37:11+01:00", "datetime", "zone"),
    "an unknown category": ("category=jaywalking", "category", "never 'jaywalking'"),
    "an empty category": ("category=", "category", "empty"),
    "a category with NUL": (f"category=theft{NUL}", "category", "NUL"),
    "a category with a hole": ("category=theft,,fraud", "category", "never ''"),
    "an unknown handling": ("handling=TLP:WHITE", "handling", "never"),
    "severity as a word": ("severity=high", "severity", "whole number"),
    "severity beyond int4": (f"severity={2**31}", "severity", "from -2147483648 to 2147483647"),
    "severity below int4": (f"severity={-(2**31) - 1}", "severity", "from -2147483648 to 2147483647"),
    "severity --1": ("severity=--1", "severity", "whole number"),
    "101 values": ("external_id=" + ",".join("x" * 101), "external_id", "100 values"),
    "a value too long for the log": ("external_id=" + "x" * 8_001, "external_id", "8,000"),
    "an external id with NUL": (f"external_id=a{NUL}", "external_id", "NUL"),
    "an empty cursor": ("cursor=", "cursor", "empty"),
    "a made-up cursor": ("cursor=AAAA", "cursor", "not for this request"),
    "a made-up cursor of the right length": ("cursor=" + "A" * 48, "cursor", "not for this request"),
    "a cursor that is no base64": ("cursor=%F0%9F%9A%93", "cursor", "not for this request"),
    "a cursor with NUL": (f"cursor={NUL}", "cursor", "NUL"),
    "a long cursor": ("cursor=" + "A" * 50_000, "cursor", "8,000"),
}


@pytest.mark.parametrize(("query", "field", "word"), REFUSED.values(), ids=REFUSED.keys())
def test_a_senseless_parameter_is_refused_by_name_and_reason(partners: World, query: str, field: str, word: str) -> None:
    partners.bearer("health", "research")
    with nothing_stored(partners):
        problem(ask(partners, query), 400, field or None, word)


@pytest.mark.parametrize(("query", "field", "word"), REFUSED.values(), ids=REFUSED.keys())
def test_a_map_refuses_the_same_and_has_no_pages(partners: World, query: str, field: str, word: str) -> None:
    partners.bearer("health", "research")
    paged, area = query.startswith(("limit=", "cursor=")), "" if query.startswith("bbox=") else f"{EARTH}&"
    with nothing_stored(partners):
        problem(ask(partners, f"{area}{query}", path=AREA), 400, field or None, "not a parameter" if paged else word)


def test_a_map_needs_an_area(partners: World) -> None:
    for query in ("", "category=theft"):
        problem(ask(partners, query, path=AREA), 400, "bbox", "is missing")


@pytest.mark.parametrize("path", ["/", "/conformance", "/collections", "/collections/incidents", "/oauth/jwks"])
def test_a_resource_without_parameters_takes_none(partners: World, path: str) -> None:
    problem(partners.http.get(f"{path}?f=json"), 400, "f", "there are none")


def test_publishing_and_one_record_take_no_parameters(partners: World) -> None:
    problem(partners.http.post(f"{ITEMS}?dry_run=1", json=feature("X"), headers=partners.bearer("police")), 400, "dry_run")
    for path in (f"{ITEMS}/{uuid4()}", f"{ITEMS}/{uuid4()}/explain"):
        problem(partners.http.get(f"{path}?f=json", headers=partners.bearer("health", "research")), 400, "f")


@pytest.fixture(scope="module")
def toronto(partners: World) -> World:
    """Five records on a line of longitude; one on each side of the antimeridian."""
    places = [(-79.38, 43.60 + n / 10) for n in range(5)] + [(179.99, 0.0), (-179.99, 0.0)]
    made = [feature(f"T-{n}", lon, lat, severity=n % 5 + 1) for n, (lon, lat) in enumerate(places)]
    assert partners.publish("police", *made).status_code == 201
    return partners


ANSWERED: dict[str, tuple[str, set[int]]] = {
    "nothing": ("", {0, 1, 2, 3, 4, 5, 6}),
    "the whole earth": ("bbox=-180,-90,180,90", {0, 1, 2, 3, 4, 5, 6}),
    "a box": ("bbox=-80,43.65,-79,43.85", {1, 2}),
    "a box in exponents": ("bbox=-8e1,4.365E%2B1,-.79e2,%2B43.85", {1, 2}),
    "a point": ("bbox=0,0,0,0", set()),
    "a pole": ("bbox=-180,90,180,90", set()),
    "the antimeridian": ("bbox=179,-1,-179,1", {5, 6}),
    "nearly round the earth": ("bbox=-79,-90,-80,90", {5, 6}),
    "the antimeridian itself": ("bbox=180,-90,-180,90", set()),
    "east of Greenwich": ("bbox=0,-90,180,90", {5}),
    "a moment that is released": ("datetime=2021-03-04T13:00:00Z", {0, 1, 2, 3, 4, 5, 6}),
    "a moment that is not": ("datetime=2021-03-04T13:37:11Z", set()),
    "a microsecond": ("datetime=2021-03-04T13:00:00Z/2021-03-04T13:00:00.000001Z", {0, 1, 2, 3, 4, 5, 6}),
    "the microsecond after": ("datetime=2021-03-04T13:00:00.000001Z/2021-03-04T13:00:00.000002Z", set()),
    "until then": ("datetime=../2021-03-04T13:00:00Z", {0, 1, 2, 3, 4, 5, 6}),
    "until then, in other words": ("datetime=/2021-03-04t13:00:00z", {0, 1, 2, 3, 4, 5, 6}),
    "from then": ("datetime=2021-03-04T14:00:00%2B01:00/..", {0, 1, 2, 3, 4, 5, 6}),
    "the last day of all": ("datetime=9999-12-31T00:00:00Z/9999-12-31T23:59:59.999999Z", set()),
    "the last moment": ("datetime=9999-12-31T23:59:59.999999Z", set()),
    "the last moment, in a box": ("datetime=9999-12-31T23:59:59.999999Z&bbox=-180,-90,180,90", set()),
    "the first moment": ("datetime=0001-01-01T00:00:00Z", set()),
    "all of time": ("datetime=0001-01-01T00:00:00Z/9999-12-31T23:59:59.999999Z", {0, 1, 2, 3, 4, 5, 6}),
    "a number": ("severity=1", {0, 5}),
    "numbers": ("severity=1,2,2147483647,-2147483648,-0", {0, 1, 5, 6}),
    "a word": ("category=theft", {0, 1, 2, 3, 4, 5, 6}),
    "other words": ("category=fraud,fire", set()),
    "a field that is withheld": ("handling=TLP:AMBER", set()),
    "an external id": ("external_id=T-3", {3}),
    "an odd external id": ("external_id=" + quote("T-3'; --"), set()),
    "all at once": ("bbox=-80,43,-79,44&datetime=2021-03-04T13:00:00Z&category=theft&severity=3&external_id=T-2&limit=1", {2}),
}


@pytest.mark.parametrize(("query", "wanted"), ANSWERED.values(), ids=ANSWERED.keys())
def test_what_is_unusual_but_right_is_answered(toronto: World, query: str, wanted: set[int]) -> None:
    answer = ask(toronto, query)
    assert answer.status_code == 200, answer.text
    assert {f["properties"]["external_id"] for f in answer.json()["features"]} == {f"T-{n}" for n in wanted}


@pytest.mark.parametrize(("query", "wanted"), ANSWERED.values(), ids=ANSWERED.keys())
def test_a_map_answers_the_same(toronto: World, query: str, wanted: set[int]) -> None:
    query = query.replace("&limit=1", "")
    answer = ask(toronto, query if "bbox=" in query else f"{EARTH}&{query}".rstrip("&"), path=AREA)
    assert answer.status_code == 200, answer.text
    assert {r[0] for r in answer.json()["records"]} == {f["id"] for f in ask(toronto, query).json()["features"]}
    assert len(answer.json()["records"]) == len(wanted)


def test_a_cursor_is_for_one_reader_purpose_and_filter_and_says_so(toronto: World) -> None:
    toronto.http.get(ITEMS, headers=bearer(toronto, "housing", "query", "safety"))
    links = ask(toronto, "limit=2&category=theft").json()["links"]
    (cursor,) = [link["href"].partition("cursor=")[2] for link in links if link["rel"] == "next"]
    assert ask(toronto, f"limit=3&category=theft&cursor={cursor}").status_code == 200  # the page's size may change on the way
    for query in (f"cursor={cursor}", f"category=theft,fraud&cursor={cursor}", f"category=theft&bbox=-180,-90,180,90&cursor={cursor}"):
        problem(ask(toronto, query), 400, "cursor", "not for this request")
    for changed in (cursor[:-1], cursor + "A", "A" + cursor[1:], cursor[:10] + ("A" if cursor[10] != "A" else "B") + cursor[11:]):
        problem(ask(toronto, f"category=theft&cursor={changed}"), 400, "cursor", "not for this request")
    foreign = toronto.http.get(f"{ITEMS}?category=theft&cursor={cursor}", headers=bearer(toronto, "housing", "query", "safety"))
    problem(foreign, 400, "cursor", "not for this request")


def test_an_id_that_cannot_be_one_names_no_record(toronto: World) -> None:
    absent = toronto.http.get(f"{ITEMS}/{uuid4()}", headers=toronto.bearer("health", "research"))
    problem(absent, 404)
    for odd in ("7", "x" * 10_000, "%00", "%F0%9F%9A%93", "..%2f", "{id}", str(uuid4()).upper(), uuid4().hex, f"%20{uuid4()}"):
        answer = toronto.http.get(f"{ITEMS}/{odd}", headers=toronto.bearer("health", "research"))
        if "%2f" not in odd:
            assert (answer.status_code, answer.content) == (404, absent.content)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (ITEMS, "GET, HEAD, POST"),
        (f"{ITEMS}/7", "GET, HEAD, PUT, DELETE"),
        (f"{ITEMS}/7/explain", "GET, HEAD"),
        (MAP, "GET, HEAD"),
        ("/", "GET, HEAD"),
        ("/oauth/token", "POST"),
        ("/audit/events", "GET, HEAD"),
    ],
)
def test_a_method_that_a_resource_does_not_take_is_answered_with_those_it_takes(
    partners: World, method: str, path: str, allowed: str
) -> None:
    if method in allowed:
        return
    answer = partners.http.request(method, path)
    problem(answer, 405, word=f"does not take {method}")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/nothing", "/collections/", "/collections/incidents/items/", "/api/", "/docs", "/openapi.json"])
def test_a_path_that_is_not_there_is_a_problem(partners: World, path: str) -> None:
    problem(partners.http.get(path), 404, word="no such path")


def test_a_collection_that_is_not_there_is_a_problem_before_any_token(partners: World) -> None:
    for path in ("", "/items", "/items/7", "/items/7/explain", f"/map?{EARTH}"):
        problem(partners.http.get(f"/collections/alerts{path}"), 404, word="no collection of that name")
    problem(partners.http.get("/collections/%00"), 404, word="no collection of that name")


@pytest.mark.parametrize("path", [ITEMS, MAP])
def test_head_answers_like_get_without_a_body_and_is_logged_like_it(toronto: World, path: str) -> None:
    headers = toronto.bearer("health", "research")
    before = len(toronto.leaves(type="query"))
    got, head = toronto.http.get(path, headers=headers), toronto.http.head(path, headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers.keys() == got.headers.keys()
    assert head.headers["content-length"] == got.headers["content-length"]
    first, second = toronto.leaves(type="query")[before:]
    assert first["shown"] == second["shown"]
    assert toronto.http.head(path).status_code == 401
    assert toronto.http.head(f"{ITEMS}/{uuid4()}", headers=headers).status_code == 404
