"""The log's tree in the OpenAPI document (hub/api/log.py)."""

from typing import Any

from hub.api.openapi_parts import operation, parameter, secured

TEXT, BYTES, JSON = "text/plain", "application/octet-stream", "application/json"
_WORD, _WHOLE = {"type": "string"}, {"type": "integer", "minimum": 1}
_HASHES = {"type": "array", "items": {"type": "string", "format": "byte"}}
_STATUSES = (200, 400, 404, 503)


def log_paths() -> dict[str, Any]:
    """Checkpoints, tiles, proofs and cosignatures; only the leaves need a token."""
    level = parameter("level", "The tile's level (0 is that of leaves)", _WORD, where="path")
    path = parameter("path", "Which tile, in groups of three digits; a width, unless it is full (C2SP tlog-tiles)", _WORD, where="path")
    entries = operation("logEntries", "Leaves, each after its length in two bytes: for auditors", BYTES, (*_STATUSES, 401, 403), _bytes())
    return {
        "/audit/log": {"get": operation("logState", "The log's keys, size, witnesses, alarms", JSON, (200, 400, 503), _state())},
        "/audit/checkpoint": {"get": _checkpoint()},
        "/audit/tile/{level}/{path}": {
            "get": operation("logTile", "Hashes of the log's tree, 32 bytes each", BYTES, _STATUSES, _bytes())
            | {"parameters": [level, path]}
        },
        "/audit/tile/entries/{path}": {"get": secured(entries, "audit", [path])},
        "/audit/proof/inclusion": {"get": _inclusion()},
        "/audit/proof/consistency": {"get": _consistency()},
        "/audit/cosignatures": {"post": _cosignatures()},
    }


def _checkpoint() -> dict[str, Any]:
    text = operation("logCheckpoint", "A checkpoint of the log with cosignatures (C2SP signed note)", TEXT, _STATUSES, _WORD)
    flag = {"type": "boolean", "default": False}
    return text | {
        "parameters": [
            parameter("size", "The checkpoint of the tree of so many leaves; else the newest.", _WHOLE),
            parameter("cosigned", "The newest that any witness cosigned.", flag),
            parameter("witnessed", "The newest that as many witnesses cosigned as the hub wants.", flag),
        ]
    }


def _inclusion() -> dict[str, Any]:
    told = _object(index={"type": "integer"}, size={"type": "integer"}, proof=_HASHES)
    asked = [
        parameter("leaf", "The leaf hash, in hexadecimal; or index.", _WORD | {"pattern": "^[0-9a-fA-F]{64}$"}),
        parameter("index", "The leaf's place, from 0; or leaf.", {"type": "integer", "minimum": 0}),
        parameter("size", "Of how many leaves the tree is; else of those of the newest checkpoint.", _WHOLE),
    ]
    return operation("logInclusion", "The proof that a leaf is in the log (RFC 9162)", JSON, _STATUSES, told) | {"parameters": asked}


def _consistency() -> dict[str, Any]:
    told = _object(first={"type": "integer"}, second={"type": "integer"}, proof=_HASHES)
    asked = [
        parameter("first", "The number of leaves of the smaller tree; must be given.", _WHOLE),
        parameter("second", "The number of leaves of the larger tree; must be given.", _WHOLE),
    ]
    found = operation("logConsistency", "The proof that one tree is the beginning of another (RFC 9162)", JSON, _STATUSES, told)
    return found | {"parameters": asked}


def _cosignatures() -> dict[str, Any]:
    told = _object(size={"type": "integer"}, witnesses={"type": "array", "items": _WORD})
    found = operation("logCosignatures", "A witness brings its cosignature", JSON, (200, 400, 403, 409, 413, 415, 503), told)
    return found | {"requestBody": {"required": True, "content": {TEXT: {"schema": _WORD}}}}


def _state() -> dict[str, Any]:
    number, seconds, time = {"type": "integer"}, {"type": "number", "nullable": True}, _WORD | {"format": "date-time"}
    witness = _object(name=_WORD, key=_WORD, size=number | {"nullable": True}, at=time | {"nullable": True}, lag_s=seconds)
    return _object(
        origin=_WORD,
        key=_WORD | {"description": "The log's verifier key: pin it."},
        leaf_key=_WORD | {"nullable": True, "description": "The public key of the key process (Ed25519, base64), which signs leaves."},
        size=number,
        at=time | {"nullable": True},
        waiting=number,
        behind_s=seconds,
        quorum=number,
        unwitnessed_s=seconds,
        witnesses={"type": "array", "items": witness},
        alarms={"type": "array", "items": _object(kind=_WORD, detail=_WORD, since=time)},
    )


def _object(**members: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(members), "properties": members}


def _bytes() -> dict[str, Any]:
    return _WORD | {"format": "binary"}
