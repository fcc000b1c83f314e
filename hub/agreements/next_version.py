"""The next version of an MOU file: what changes is written into it, everything else stays as it is, comments included."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from ruamel.yaml import YAML

from hub.policy.mou import Mou


def next_version(mou: Mou, change: Callable[[Any], None]) -> tuple[str, str]:
    """The file of `mou` as it is, and that of the version after it with what `change` does to its words; both written alike, so that a
    diff of the two shows the change alone.
    """
    yaml = YAML(pure=True)
    yaml.width, yaml.preserve_quotes = 10_000, True
    data = yaml.load(mou.source)
    before = _text(yaml, data)
    data["version"] = mou.version + 1
    data.pop("supersedes", None)
    data.insert(list(data).index("version") + 1, "supersedes", f"sha256:{mou.sha256}")
    change(data)
    return before, _text(yaml, data)


def _text(yaml: YAML, data: Any) -> str:
    out = BytesIO()
    yaml.dump(data, out)
    return out.getvalue().decode()
