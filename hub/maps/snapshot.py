"""Stub until helper D writes it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Export:
    title: str
    viewer: str
    organisation: str
    purpose: str
    case: str | None
    at: datetime
    filters: list[tuple[str, str]]
    mous: list[tuple[str, int, str]]
    handling: list[str]


def snapshot(about: Export, features: str) -> str:
    return ""
