"""The registry of purposes: which words agreements of this hub may name, and what each means. Pure."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from hub.errors import InvalidPolicy, Problem
from hub.policy.mou import Mou, placed
from hub.policy.vocabulary import Part, Purpose, Text, suggestion
from hub.yamlfile import read_yaml


class _Registry(Part):
    purposes: Annotated[dict[Purpose, Text], Field(min_length=1)]


def read_purposes(source: bytes) -> Mapping[str, str]:
    """What each purpose means, by its word.

    Raises:
        InvalidPolicy: the file is no registry.
    """
    try:
        return TypeAdapter(_Registry).validate_python(read_yaml(source, "registry of purposes", InvalidPolicy)).purposes
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "purposes"
        raise InvalidPolicy(f"{place}: {first['msg']}", problems=[Problem(place, first["msg"])]) from None


def unregistered(mou: Mou, registry: Mapping[str, str] | None) -> list[Problem]:
    """A problem for each purpose of its grants that the registry doesn't have; none without a registry."""
    if registry is None:
        return []
    return [
        placed(mou.source, ("grants", n, "purposes", k), f"{word!r} is not a purpose of this hub{suggestion(word, registry)}")
        for n, grant in enumerate(mou.grants)
        for k, word in enumerate(grant.purposes)
        if word not in registry
    ]
