"""Writes the generated parts of the documentation: what stands between `<!-- generated: NAME -->` and `<!-- end -->`.

Run after changing the catalogue, a setting, an error, a condition or the Makefile: .venv/bin/python docs/generate.py
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any
from uuid import UUID

from typer import Typer

import hub.app  # noqa: F401  # a kind of problem is known once its module is
from hub import cli, errors
from hub.audit.leaf import By, Event, Share, leaves
from hub.datasets import DATASETS
from hub.datasets.incidents import NIBRS, Category, Incident
from hub.errors import HubError
from hub.mapping.checks import MODIFIERS
from hub.mapping.maker import EXTERNAL_ID
from hub.mapping.shapes import shape_of
from hub.policy.conditions import CONDITIONS
from hub.policy.schema import json_schema
from hub.policy.treatments import ROUND_TO
from hub.records import SEALED_CLASSES, Clear, Field, Sealed
from hub.records import Record as Dataset
from hub.settings import Settings
from hub.sharing.statements import filterable

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("text", "number", "time", "place", "sealed")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(*words: object) -> str:
    return ", ".join(f"`{word}`" for word in words)


def settings() -> str:
    def row(name: str) -> tuple[str, ...]:
        info = Settings.model_fields[name]
        limits = {kind: getattr(m, kind) for m in info.metadata for kind in ("ge", "le") if hasattr(m, kind)}
        allowed = f" {limits['ge']:,} to {limits['le']:,}." if limits else ""
        default = "unset" if info.default is None else code(info.default)
        return code(f"HUB_{name.upper()}"), default, f"{info.description}{allowed}"

    return table(("variable", "default", "what it is"), map(row, Settings.model_fields))


def kinds_of_error(kind: type[HubError] = HubError) -> Iterator[type[HubError]]:
    yield kind
    for sub in kind.__subclasses__():
        yield from kinds_of_error(sub)


def problems() -> str:
    """Slugs with the first words said of them: in the tree of hub/errors.py, else in the class's own docstring."""
    tree: dict[str, str] = dict(re.findall(r"── (\w+)\s+\d+\s+(.+)", errors.__doc__ or ""))
    rows = {}
    for kind in kinds_of_error():
        said = tree.get(kind.__name__) or (kind.__doc__ or "").strip().splitlines()[0]
        rows.setdefault(kind.slug, (code(kind.slug), kind.status, kind.title, "a defect of the hub" if kind is HubError else said))
    return table(("slug", "status", "title", "when"), sorted(rows.values(), key=lambda row: (row[1], row[0])))


def conditions() -> str:
    def fields(kinds: Iterable[str]) -> str:
        return code(*(f.name for f in Incident.fields if f.kind in kinds))

    rows = [(code(w), ", ".join(c.column_types), fields(c.column_types)) for w, c in CONDITIONS.items()]
    return table(("word", "kinds of field", "fields of an incident"), rows)


def treatments_of(kind: str) -> list[str]:
    more = {"place": [f"{{grid_m: {m}}}" for m in (100, 500, 2000)], "time": [f"{{round_to: {iso}}}" for iso in ROUND_TO]}
    more |= {"number": ["{bands: [1, 3, 5]}"], "text": ["{last: 4}"], "sealed": ["{last: 4}", "match_only"]}
    return ["clear", *more.get(kind, ()), "withhold"]


def treatments() -> str:
    words = dict.fromkeys(word for kind in KINDS for word in treatments_of(kind) if word != "withhold")
    said = {
        "clear": "whole; of a place the exact point, of a sealed field what it holds",
        "{grid_m: 100}": "the centre of the 100 m cell",
        "{grid_m: 500}": "the centre of the 500 m cell",
        "{grid_m: 2000}": "the centre of the 2 km cell",
        "{round_to: PT1H}": "cut down to the hour, UTC",
        "{round_to: P1D}": "cut down to the day, UTC",
        "{bands: [1, 3, 5]}": "the beginning of the band that the number lies in; below the first band nothing",
        "{last: 4}": "of a text that partners write as they like (1 to 20): an ellipsis and its last characters",
        "match_only": "nothing; of `phone`, `people` and `vehicles`: with the action `match`, whether a value that is asked for occurs",
        "withhold": "not at all: the same as not listing the field",
    }
    return table(
        ("treatment", "kinds of field", "what is released"),
        [(code(w), ", ".join(k for k in KINDS if w in treatments_of(k)), said[w]) for w in [*words, "withhold"]],
    )


NESTED = {  # the part of the schema that stands under a word
    "parties": "Parties", "in_force": "InForce", "contacts": "Contact", "jurisdictions": "Jurisdiction", "grants": "Grant",
    "occurred": "Window", "aggregates": "Aggregates", "duties": "Duties", "refuse": "Refusal", "as": "As", "record": "TestedRecord",
}  # fmt: skip


def mou_words(name: str | None = None) -> str:
    """The words of an MOU file, or of one of its parts, in the order of the schema, each followed by those that stand under it."""
    schema = json_schema(DATASETS)

    def rows(part: dict[str, Any], heading: str | None) -> Iterator[tuple[str, str, str]]:
        for word, said in part["properties"].items():
            if "description" in said:
                named = f"{code(heading)}: {code(word)}" if heading else code(word)
                yield named, "yes" if word in part.get("required", ()) else "", said["description"]
                if word in NESTED:
                    yield from rows(schema["$defs"][NESTED[word]], word)

    return table(("word", "must be there", "what"), rows(schema if name is None else schema["$defs"][name], None))


def mou_example() -> str:
    return f"```yaml\n{(ROOT / 'policies/demo/MOU-DEMO-001.yaml').read_text()}```"


def mapping_example() -> str:
    return f"```yaml\n{(ROOT / 'docs/mappings/nottinghamshire.yaml').read_text()}```"


def mapping_takes() -> str:
    """What a mapping makes of each kind of field, and which words it takes besides where the value comes from."""
    said = {
        "text": "the text",
        "words": "one of the field's words",
        "number": "a whole number in digits",
        "time": "an instant",
        "list": "a list of parts, each with fields of its own",
        "object": "an object of the columns, by their names",
    }
    own = {EXTERNAL_ID, *(f.name for f in Incident.named("place"))}
    named = {shape: [f.name for f in Incident.fields if f.name not in own and shape_of(Incident, f.name) == shape] for shape in said}
    return table(
        ("makes", "fields of an incident", "words"),
        [(text, code(*named[shape]), code(*MODIFIERS.get(shape, ()))) for shape, text in said.items()],
    )


def mapping_files() -> str:
    def first(path: Path) -> str:
        comment = " ".join(line[2:] for line in takewhile(lambda text: text.startswith("# "), path.read_text().splitlines()))
        return f"[{path.stem}](../mappings/{path.name}): {comment}"

    return "\n".join(f"- {first(path)}" for path in sorted((ROOT / "docs/mappings").glob("*.yaml")))


def fields(dataset: type[Dataset]) -> str:
    def row(field: Field) -> tuple[object, ...]:
        mark = {Clear: "clear", Sealed: "sealed"}.get(type(field.mark), "place")
        sealed = "" if isinstance(field.mark, Clear) else f"{field.mark.cls} ({field.cls})"
        tests = code(*(w for w, c in CONDITIONS.items() if field.kind in c.column_types))
        asked = "yes" if field in filterable(dataset) else {"time": "`datetime`" if field.name == "occurred_at" else ""}.get(field.kind, "")
        asked = "`bbox`" if field.kind == "place" else asked
        return code(field.name), field.number, mark, field.kind, sealed, "yes" if field.required else "", tests, asked

    head = ("field", "number", "mark", "kind", "sealed class", "required", "conditions", "filter")
    return table(head, map(row, sorted(dataset.fields, key=lambda f: f.number)))


def words(dataset: type[Dataset]) -> str:
    return table(("field", "its words"), [(code(f.name), code(*sorted(f.choices))) for f in dataset.fields if f.choices])


def classes() -> str:
    rows = [(f"{name} ({n})", code(*(f.name for f in Incident.fields if not isinstance(f.mark, Clear) and f.cls == n)))
            for name, n in SEALED_CLASSES.items()]  # fmt: skip
    return table(("sealed class", "fields"), rows)


def categories() -> str:
    return table(("category", "NIBRS offence codes"), [(code(c.value), ", ".join(NIBRS.get(c, ())) or "none") for c in Category])


def leaf() -> str:
    """One disclosure with fixed values, and its leaf hash: a test vector."""
    event = Event(
        UUID("019ab000-0000-7000-8000-000000000001"), "query", datetime(2026, 1, 31, 13, 5, 53, 120_000, UTC),
        By("riverside-health", "health-reader", "q1w2e3r4t5y6u7i8", "192.0.2.7"), "permit", "public-health.prevention", dataset="incidents",
        asked={"extent": [-79.4, 43.64, -79.36, 43.67], "limit": 10},
    )  # fmt: skip
    under = [{"mou": "MOU-TUTORIAL-001", "version": 1, "sha256": "e3b0c442" * 8, "grants": ["harm"]}]
    (made,) = leaves(event, [Share("riverside-police", under, [7, 8, 4711], {"fields": {"place": "grid_m:500"}})], bytes(range(16)))
    return f"```json\n{made.text}\n```\n\nIts leaf hash is `{made.hash.hex()}`."


def layers() -> str:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    found = next(c["layers"] for c in contracts if c["type"] == "layers")
    return "```text\n" + "\n".join(found) + "\n```"


def targets() -> str:
    found = re.findall(r"^(\w+):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.M)
    return table(("target", "what it does"), [(code(f"make {name}"), said) for name, said in found])


def commands() -> str:
    found = [
        (code(f"hub {prefix}{c.name or c.callback.__name__}"), (c.callback.__doc__ or "").strip().splitlines()[0])
        for prefix, app in groups("", cli.app) for c in app.registered_commands if c.callback
    ]  # fmt: skip
    return table(("command", "what it does"), found)


def groups(prefix: str, app: Typer) -> Iterator[tuple[str, Typer]]:
    yield prefix, app
    for group in app.registered_groups:
        if group.typer_instance:
            yield from groups(f"{prefix}{group.name} ", group.typer_instance)


BLOCKS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "problems": problems,
    "conditions": conditions,
    "treatments": treatments,
    "mou-words": mou_words,
    "mou-test-words": lambda: mou_words("OwnTest"),
    "mou-example": mou_example,
    "mapping-example": mapping_example,
    "mapping-takes": mapping_takes,
    "mapping-files": mapping_files,
    "classes": classes,
    "categories": categories,
    "leaf": leaf,
    "layers": layers,
    "targets": targets,
    "commands": commands,
    **{f"{name}-fields": (lambda dataset=dataset: fields(dataset)) for name, dataset in DATASETS.items()},
    **{f"{name}-words": (lambda dataset=dataset: words(dataset)) for name, dataset in DATASETS.items()},
}


def renewed(text: str) -> str:
    """`text` with each generated part as it should be now. Raises KeyError for a part that has no generator."""
    return re.sub(
        r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{BLOCKS[found[2]]()}\n{found[3]}",
        text,
        flags=re.S,
    )


def main() -> None:
    for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        old = path.read_text()
        if (new := renewed(old)) != old:
            path.write_text(new)
            print(f"renewed {path.relative_to(ROOT)}")
    schema = ROOT / "policies" / "mou.schema.json"
    new = json.dumps(json_schema(DATASETS), indent=1) + "\n"
    if not schema.exists() or schema.read_text() != new:
        schema.write_text(new)
        print("renewed policies/mou.schema.json")


if __name__ == "__main__":
    main()
