"""One file per shared thing. Adding a dataset: one file, one line here."""

from hub.datasets.incidents import Incident
from hub.records import Record, distinct_numbers

DATASETS: dict[str, type[Record]] = {"incidents": Incident}

distinct_numbers(list(DATASETS.values()))
