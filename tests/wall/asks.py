"""Requests made from the OpenAPI document: each operation, each of its parameters, values on the edges that a pair of twins gives.

An operation or a parameter without values here fails a test: nobody adds an endpoint and forgets its twins.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from random import Random
from typing import Any

from tests.wall.sending import SIGNED, Ask
from tests.wall.twins import ASKED_FOR, NOT_TO_BE_ASKED_FOR, Scenario, pair_boxes, pair_times
from tests.world import ASSERTION_TYPE, feature

POSTER = "poster"  # publishes during the comparison, so that no reader's own part of the log grows
PURPOSE = "research"
EARTH = "-180,-90,180,90"
AS_JSON = (("Content-Type", "application/json"),)

Operation = Mapping[str, Any]
Asks = Iterator[Ask]


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    """(method, path, operation) of everything the document names."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def asks(document: Mapping[str, Any], scenario: Scenario, ids: Mapping[str, str]) -> list[Ask]:
    """Every request for the twins of one scenario. `ids`: external id → id."""
    # What was delivered is asked for last: all of it is there then.
    ordered = sorted(operations(document), key=lambda o: o[2]["operationId"] in DUTIES)
    found = [ask for method, path, op in ordered for ask in GENERATORS[op["operationId"]](method, path, op, scenario, ids)]
    # HEAD is not in the document, and tells how long the answer would be: a part of the GETs is asked again in this way.
    return found + [replace(ask, method="HEAD", walk=False) for ask in [a for a in found if a.method == "GET"][::7]]


def _plain(method: str, path: str, _op: Operation, scenario: Scenario, _ids: Mapping[str, str]) -> Asks:
    for client in (None, scenario.reader):
        yield Ask(method, path, client, PURPOSE if client else None)
    yield Ask(method, path, None, None, (("bbox", "0,0,1,1"),))


def _token(method: str, path: str, op: Operation, scenario: Scenario, _ids: Mapping[str, str]) -> Asks:
    members = op["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]["properties"]
    assert set(members) == {"grant_type", "client_assertion_type", "client_assertion", "scope", "purpose", "case"}
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": "x", "purpose": PURPOSE}
    yield Ask(method, path, None, form=form)
    yield Ask(method, path, None, form=form | {"client_assertion": SIGNED, "client": scenario.reader})
    yield Ask(method, path, None, form=form | {"client_assertion": SIGNED, "client": scenario.reader, "scope": "query"})
    yield Ask(method, path, None, form=form | {"client_assertion": SIGNED, "client": scenario.reader, "case": "2026/17"})


def _publish(method: str, path: str, _op: Operation, scenario: Scenario, _ids: Mapping[str, str]) -> Asks:
    """Publishing says nothing of another provider's record that has the same external id."""
    for pair in scenario.pairs[:2]:
        same = feature(pair[0]["properties"]["external_id"])
        yield Ask(method, path, POSTER, json=same)
        yield Ask(method, path, POSTER, PURPOSE, (("limit", "1"),), json=same)
        yield Ask(method, path, POSTER, json=same | {"id": "1"})


def _item(method: str, path: str, _op: Operation, scenario: Scenario, ids: Mapping[str, str]) -> Asks:
    mine = [ids[pair[0]["properties"]["external_id"]] for pair in scenario.pairs]
    foreign = [i for i in ids.values() if i not in mine][:2]
    for wanted in [*mine, *foreign, "6f0f4a44-0000-4000-8000-000000000000", mine[0].upper(), "none", "%20"]:
        yield Ask(method, path.replace("{id}", wanted), scenario.reader, PURPOSE)
    yield Ask(method, path.replace("{id}", mine[0]), scenario.reader, "other-purpose")


def _trace(method: str, path: str, _op: Operation, scenario: Scenario, ids: Mapping[str, str]) -> Asks:
    """A reader traces its own records alone."""
    mine = [ids[pair[0]["properties"]["external_id"]] for pair in scenario.pairs]
    for wanted in [*mine, ids[f"own-{scenario.reader}"], "6f0f4a44-0000-4000-8000-000000000000", "none"]:
        yield Ask(method, path.replace("{id}", wanted), scenario.reader, None)
    yield Ask(method, path.replace("{id}", mine[0]), None, None)


def _change(method: str, path: str, _op: Operation, scenario: Scenario, ids: Mapping[str, str]) -> Asks:
    """Changing a record by its id says nothing of another provider's: one that is there and one that isn't are one answer."""
    mine = [ids[pair[0]["properties"]["external_id"]] for pair in scenario.pairs[:2]]
    for wanted in [*mine, "6f0f4a44-0000-4000-8000-000000000000", "none"]:
        same = feature(scenario.pairs[0][0]["properties"]["external_id"]) if method == "PUT" else None
        for tag in ("*", '"1"', '"7"'):
            yield Ask(method, path.replace("{id}", wanted), POSTER, json=same, headers=(("If-Match", tag),))
            if method == "DELETE":
                yield Ask(method, path.replace("{id}", wanted), POSTER, params=(("recall", "erasure"),), headers=(("If-Match", tag),))


def _match(method: str, path: str, _op: Operation, scenario: Scenario, _ids: Mapping[str, str]) -> Asks:
    phones = [{"field": "phone", "value": value} for value in (ASKED_FOR, NOT_TO_BE_ASKED_FOR)]
    for question in (*phones, {"field": "vehicles", "plate": "X"}, {"field": "place"}):
        for client in (None, scenario.reader):
            yield Ask(method, path, client, PURPOSE if client else None, json=question, headers=AS_JSON)


def _destroy(method: str, path: str, op: Operation, scenario: Scenario, ids: Mapping[str, str]) -> Asks:
    """Who would destroy or hold another provider's record learns nothing of whether it is there."""
    mine = [ids[pair[0]["properties"]["external_id"]] for pair in scenario.pairs[:2]]
    for client in (None, POSTER, scenario.reader):
        for wanted in [*mine, "6f0f4a44-0000-4000-8000-000000000000"]:
            body = {"record": wanted, "reference": "x"} if "hold" in op["operationId"] else {"records": [wanted]}
            yield Ask(method, path.replace("{id}", wanted), client, json=body if method == "POST" else None, headers=AS_JSON)


def _import(method: str, path: str, _op: Operation, scenario: Scenario, ids: Mapping[str, str]) -> Asks:
    """An import knows its own organisation's records alone; an id that names a record names no import."""
    mine = ids[scenario.pairs[0][0]["properties"]["external_id"]]
    for client in (None, POSTER, scenario.reader):
        yield Ask(
            method,
            path.replace("{id}", mine),
            client,
            json={"mapping": {}} if method == "POST" else None,
            headers=(("Upload-Offset", "0"),),
        )


def _page(method: str, path: str, op: Operation, scenario: Scenario, _ids: Mapping[str, str]) -> Asks:
    """Each value alone, then in combinations; walks with small pages stand for `cursor`."""
    names = [p["name"] for p in op["parameters"]]
    alone = {name: list(dict.fromkeys(PAGE_VALUES[name](scenario))) for name in names}
    for name, values in alone.items():
        yield from (Ask(method, path, scenario.reader, PURPOSE, ((name, v),)) for v in values)
    random = Random(f"{scenario.reader} {path}")
    for _ in range(10):
        chosen = [(name, random.choice(alone[name])) for name in random.sample(["bbox", "datetime", *names], 2) if alone[name]]
        parameters = dict(chosen) | {"limit": str(random.choice((1, 2, 3)))}
        parameters.pop("cursor", None)
        yield Ask(method, path, scenario.reader, PURPOSE, tuple(parameters.items()), walk=True)
    yield Ask(method, path, scenario.reader, PURPOSE, (("limit", "1"),), walk=True)
    for name in ("bbox", "datetime", "limit"):  # one promise for an organisation, whatever its purposes
        yield from (Ask(method, path, scenario.reader, "other-purpose", ((name, v),)) for v in alone[name][:3])


def _map(method: str, path: str, op: Operation, scenario: Scenario, _ids: Mapping[str, str]) -> Asks:
    """Each area alone; each other value in the whole world and in one area; combinations."""
    alone = {p["name"]: list(dict.fromkeys(PAGE_VALUES[p["name"]](scenario))) for p in op["parameters"]}
    boxes = alone.pop("bbox")
    for box in [*boxes, EARTH]:
        yield Ask(method, path, scenario.reader, PURPOSE, (("bbox", box),))
    for name, values in alone.items():
        for value in values:
            yield from (Ask(method, path, scenario.reader, PURPOSE, (("bbox", box), (name, value))) for box in (EARTH, boxes[0]))
    random = Random(f"{scenario.reader} {path}")
    for _ in range(10):
        chosen = [(name, random.choice(alone[name])) for name in random.sample(sorted(n for n in alone if alone[n]), 2)]
        yield Ask(method, path, scenario.reader, PURPOSE, (("bbox", random.choice(boxes)), *chosen))
    for parameters in ((), (("bbox", EARTH), ("limit", "1"))):
        yield Ask(method, path, scenario.reader, PURPOSE, parameters)
    yield from (Ask(method, path, scenario.reader, "other-purpose", (("bbox", box),)) for box in (EARTH, *boxes[:3]))


def _audit(method: str, path: str, op: Operation, scenario: Scenario, ids: Mapping[str, str]) -> Asks:
    """Each filter in the pages of the log; in its other forms, which read the same search, those that look up records and their own."""
    pages = op["operationId"] == "auditEvents"
    for parameter in [p for p in op["parameters"] if pages or p["name"] in ("record", "owner", "others", "names")]:
        for value in AUDIT_VALUES[parameter["name"]](scenario, ids):
            yield Ask(method, path, scenario.reader, None, ((parameter["name"], value),))
    yield Ask(method, path, scenario.reader, None)
    yield Ask(method, path, scenario.reader, PURPOSE)


def _flags(method: str, path: str, op: Operation, scenario: Scenario, _ids: Mapping[str, str]) -> Asks:
    """Flags are about leaves, and a reader sees those about its own data alone, whatever it asked about others'."""
    body = {"state": "explained", "note": "x"} if method == "POST" else None
    for client in (None, scenario.reader):
        yield Ask(method, path.replace("{id}", "1"), client, json=body, headers=AS_JSON if body else ())
    for parameter in op["parameters"] if "{id}" not in path else ():
        for value in FLAG_VALUES[parameter["name"]](scenario):
            yield Ask(method, path, scenario.reader, None, ((parameter["name"], value),))


def _reviews(method: str, path: str, _op: Operation, scenario: Scenario, ids: Mapping[str, str]) -> Asks:
    """Access reviews are of an organisation's own; the id of a record, as of anything else, names none."""
    for id in list(ids.values())[:2] if "{run}" in path else [""]:
        for client in (None, scenario.reader):
            yield Ask(method, path.replace("{run}", id), client)


def _agreements(method: str, path: str, op: Operation, scenario: Scenario, ids: Mapping[str, str]) -> Asks:
    """Steps of agreements say nothing of records, whoever asks, and a program without the scope takes none."""
    values = {"mou": [f"MOU-{scenario.name.upper()}", "MOU-NOBODY"], "version": ["1", "x"], "part": ["source", "other"]}
    values |= {"sha256": ["0" * 64], "kid": ["none"]}
    names = [p["name"] for p in op["parameters"] if p["in"] == "path"]
    assert set(names) <= set(values)
    asked = {p["name"]: "2020-01-01T00:00:00Z/.." for p in op["parameters"] if p["in"] == "query"}
    assert set(asked) <= {"datetime"}
    for n in range(2):
        filled = path
        for name in names:
            filled = filled.replace(f"{{{name}}}", values[name][n % len(values[name])])
        for client in (None, scenario.reader):
            yield Ask(method, filled, client, params=tuple(asked.items()), json={} if method != "GET" else None)


def _duties(method: str, path: str, op: Operation, scenario: Scenario, ids: Mapping[str, str]) -> Asks:
    """What a reader holds, and what is recalled of it: the other twin recalls nothing. One that holds nothing asks the same."""
    mine = [ids[pair[0]["properties"]["external_id"]] for pair in scenario.pairs]
    values = {
        "as": ("recipient", "provider", "x"),
        "state": ("open", "overdue", "all"),
        "after": ("none", "6f0f4a44-0000-4000-8000-000000000000"),
    }
    params = [((p["name"], value),) for p in op["parameters"] if p["in"] == "query" for value in values[p["name"]]]
    body: dict[str, str] = {"answer": "destroyed"} if path.endswith("acknowledgement") else {"mou": "MOU-NOBODY", "statement": "Gone."}
    for wanted in [*mine, "6f0f4a44-0000-4000-8000-000000000000", "none"] if "{id}" in path else [""]:
        filled = path.replace("{id}", wanted)
        for asked in [(), *params]:
            for client in (scenario.reader, POSTER):
                sent = None if method == "GET" else body | ({"until": "2020-01-01T00:00:00Z"} if path == "/attestations" else {})
                yield Ask(method, filled, f"{client}-lead", params=asked, json=sent, scope="agreements")
        yield Ask(method, filled, scenario.reader)


def _log(method: str, path: str, op: Operation, scenario: Scenario, _ids: Mapping[str, str]) -> Asks:
    """The log grows with every request, so what is newest is not asked for. Leaves are not for readers."""
    fixed = {
        "logCheckpoint": [(("size", "1"),), (("size", "x"),)],
        "logInclusion": [(("index", "0"), ("size", "2")), (("leaf", "0" * 64), ("size", "2"))],
    }
    fixed |= {"logConsistency": [(("first", "1"), ("second", "2")), (("first", "1"),)], "logState": [(("x", "1"),)]}
    assert {p["name"] for p in op.get("parameters", []) if p["in"] == "query"} <= {
        "size",
        "cosigned",
        "witnessed",
        "leaf",
        "index",
        "first",
        "second",
    }
    filled = path.replace("{level}", "0").replace("{path}", "000.p/2")
    for params in fixed.get(op["operationId"], [()]):
        for client in (None, scenario.reader):
            yield Ask(method, filled, client, params=params, json={} if method == "POST" else None)


LOG = ["logState", "logCheckpoint", "logTile", "logEntries", "logInclusion", "logConsistency", "logCosignatures"]
DUTIES = ["recalls", "recall_acknowledgement", "deliveries", "deliveries_incidents", "attestation"]
REVIEWS = ["reviews", "review", "review_pdf"]
FLAGS = ["flags", "flag", "flag_triage"]
AGREEMENTS = [
    "agreements",
    "agreement",
    "agreement_part",
    "agreement_use",
    "agreement_draft",
    "agreement_boundary",
    "agreement_diff",
    *(f"agreement_{name}" for name in ("proposal", "signatures", "activation", "suspension", "resumption", "termination", "withdrawal")),
    "party_keys",
    "party_key_offer",
    "party_key_revocation",
]
GENERATORS: dict[str, Callable[..., Asks]] = {
    **dict.fromkeys(
        ["landing", "conformance", "api", "collections", "jwks", "metadata", "healthz", "readyz", "describe_incidents"], _plain
    ),
    "token": _token,
    "publish_incidents": _publish,
    **dict.fromkeys(["replace_incidents", "withdraw_incidents"], _change),
    **dict.fromkeys(
        [f"{name}_incidents" for name in ("imports", "import", "import_state", "import_part", "import_cancel", "import_verdicts")], _import
    ),
    **dict.fromkeys([f"{name}_incidents" for name in ("shreds", "shred", "shred_state", "holds", "hold", "hold_release")], _destroy),
    **dict.fromkeys(["item_incidents", "explain_incidents"], _item),
    "items_incidents": _page,
    "trace_incidents": _trace,
    "map_incidents": _map,
    **dict.fromkeys(["auditEvents", "auditSummary", "auditEvents_csv", "auditEvents_ndjson"], _audit),
    **dict.fromkeys(FLAGS, _flags),
    **dict.fromkeys(REVIEWS, _reviews),
    **dict.fromkeys(AGREEMENTS, _agreements),
    **dict.fromkeys(DUTIES, _duties),
    **dict.fromkeys(LOG, _log),
    "counts_incidents": _plain,
    "match_incidents": _match,
}


def _boxes(scenario: Scenario) -> Iterator[str]:
    return (",".join(map(repr, box)) for box in chain(*(pair_boxes(*pair, scenario.grid_m) for pair in scenario.pairs)))


def _times(scenario: Scenario) -> Iterator[str]:
    return chain(*(pair_times(*pair) for pair in scenario.pairs))


def _values(name: str) -> Callable[[Scenario], Iterator[str]]:
    def values(scenario: Scenario) -> Iterator[str]:
        for pair in scenario.pairs:
            yield from (str(twin["properties"][name]) for twin in pair if twin["properties"].get(name) is not None)

    return values


def _fixed(*values: str) -> Callable[[Scenario], Iterator[str]]:
    return lambda _scenario: iter(values)


PAGE_VALUES: dict[str, Callable[[Scenario], Iterable[str]]] = {
    "bbox": _boxes,
    "datetime": _times,
    "limit": _fixed("1", "2", "1000", "0", "1001"),
    "cursor": _fixed("AAAA", "A" * 48),
    "category": _values("category"),
    "status": _values("status"),
    "severity": _values("severity"),
    "handling": _values("handling"),
    "external_id": _values("external_id"),
}
FLAG_VALUES: dict[str, Callable[[Scenario], Iterable[str]]] = {
    "state": _fixed("new", "odd"),
    "kind": _fixed("walk", "odd"),
    "owner": lambda s: [s.reader, s.provider],
    "organisation": lambda s: [s.reader, s.provider],
    "person": _fixed("00000000-0000-4000-8000-000000000001"),
    "client": lambda s: [s.reader],
    "datetime": _fixed("2020-01-01T00:00:00Z/.."),
    "before": _fixed("1", "x"),
    "limit": _fixed("1", "0"),
}
AUDIT_VALUES: dict[str, Callable[[Scenario, Mapping[str, str]], Iterable[str]]] = {
    "datetime": lambda s, ids: [next(pair_times(*s.pairs[0])), "2020-01-01T00:00:00Z/.."],
    "organisation": lambda s, ids: [s.reader, s.provider],
    "owner": lambda s, ids: [s.reader, s.provider],
    "type": lambda s, ids: ["publish", "query", "audit"],
    "person": lambda s, ids: ["00000000-0000-4000-8000-000000000001", "nobody"],
    "client": lambda s, ids: [s.reader, s.provider],
    "session": lambda s, ids: ["none"],
    "mou": lambda s, ids: ["MOU-TWINS", "none"],
    "grant": lambda s, ids: ["MOU-TWINS/all", "none"],
    "purpose": lambda s, ids: [PURPOSE, "none"],
    "case": lambda s, ids: ["none"],
    "decision": lambda s, ids: ["permit", "absent", "maybe"],
    "dataset": lambda s, ids: ["incidents", "none"],
    "bbox": lambda s, ids: list(islice(_boxes(s), 4)),
    "polygon": lambda s, ids: ["-180,-90,180,-90,0,90", "1,1,2,2"],
    "placeless": lambda s, ids: ["true", "perhaps"],
    "others": lambda s, ids: ["true", "perhaps"],
    "names": lambda s, ids: ["ocsf", "hub", "none"],
    "record": lambda s, ids: [ids[p[0]["properties"]["external_id"]] for p in s.pairs] + [ids[f"own-{s.reader}"], "none"],
    "before": lambda s, ids: ["1", "1000000"],
    "limit": lambda s, ids: ["1", "2", "1000", "0"],
}
