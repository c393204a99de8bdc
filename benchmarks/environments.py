"""The peers, and a virtual environment for each, made when it is first measured and kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from attrs import frozen

from benchmarks.measuring import Unmeasurable, last_line

SCRIPTS = Path(__file__).parent / "peers"
CACHE = Path(__file__).parent.parent / ".bench"
ALL_WORK = ("one-way", "ask", "ping-pong", "pipeline", "fan-in", "fan-out", "ring")
INSTALL_LIMIT = 300.0
"""Seconds that the installation of a peer may take."""


@frozen(kw_only=True)
class Peer:
    """Somebody who does the same work.

    Attributes:
        name: what the table calls it.
        script: does the work; a file in benchmarks/peers.
        work: the workloads that it knows.
        arguments: what the script gets before the workload.
        requirement: what pip installs for it; None: nothing, it runs in our own Python.
        python: the oldest Python that it runs on.
        program: what runs the script, if not Python.
        usual: whether it is measured when nobody asks for it by name.
    """

    name: str
    script: str
    work: tuple[str, ...] = ALL_WORK
    arguments: tuple[str, ...] = ()
    requirement: str | None = None
    python: tuple[int, int] = (3, 11)
    program: str | None = None
    usual: bool = True

    @property
    def key(self) -> str:
        """What the command line calls it: `pykka`."""
        return self.name.partition(" ")[0].partition(".")[0].lower()


PEERS = (
    Peer(name="asyncio.Queue", script="asyncio_queues.py"),
    Peer(name="Pykka", script="pykka_actors.py", requirement="pykka==4.5.0"),
    Peer(name="Thespian", script="thespian_actors.py", requirement="thespian==4.0.1"),
    Peer(name="xoscar", script="xoscar_actors.py", requirement="xoscar==0.12.2"),
    Peer(name="casty", script="casty_actors.py", requirement="casty==0.30.2", python=(3, 12)),
    Peer(name="lapinbeam", script="lapinbeam_actors.py", requirement="lapinbeam==1.3.0"),
    Peer(name="Ray", script="ray_actors.py", work=("one-way", "ask"), requirement="ray==2.60.0", usual=False),
    Peer(name="Erlang processes", script="erlang.escript", arguments=("plain",), program="escript"),
    Peer(name="Erlang gen_server", script="erlang.escript", work=("one-way", "ask"), arguments=("gen_server",), program="escript"),
)


def ready(peer: Peer, cache: Path = CACHE) -> tuple[str, ...]:
    """What runs its script; makes its environment, if it is not there.

    Raises:
        Unmeasurable: it can't be had here.
    """
    if peer.program is not None:
        program = shutil.which(peer.program)
        if program is None:
            raise Unmeasurable(f"{peer.program} is not installed")
        return (program, str(SCRIPTS / peer.script), *peer.arguments)
    python = Path(sys.executable)
    if peer.requirement is not None:
        python = _environment(peer, peer.requirement, cache)
    return (str(python), str(SCRIPTS / peer.script), *peer.arguments)


def version(peer: Peer, command: tuple[str, ...]) -> str:
    """Its version, and the Python it runs on, if that is not ours."""
    if peer.program is not None:
        ended = subprocess.run([*command, peer.work[0], "100"], capture_output=True, text=True, timeout=60, check=False)
        return f"OTP {json.loads(ended.stdout)['version']}" if not ended.returncode else "unknown"
    number = "" if peer.requirement is None else peer.requirement.partition("==")[2]
    found = _version_of(Path(command[0]))
    ours = (sys.version_info.major, sys.version_info.minor)
    return number if found == ours or found is None else f"{number} on Python {found[0]}.{found[1]}"


def _environment(peer: Peer, requirement: str, cache: Path) -> Path:
    python = _fitting_python(peer.python)
    place = cache / f"{requirement.replace('==', '-')}-py{'.'.join(map(str, _version_of(python) or ()))}"
    inside, stamp = place / "bin" / "python", place / "complete"
    if stamp.exists() and inside.exists():
        return inside
    shutil.rmtree(place, ignore_errors=True)
    cache.mkdir(exist_ok=True)
    steps = ([str(python), "-m", "venv", str(place)], [str(inside), "-m", "pip", "install", "--quiet", "--no-input", requirement])
    for step in steps:
        try:
            ended = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_LIMIT, check=False)
        except subprocess.TimeoutExpired:
            raise Unmeasurable(f"could not be installed within {INSTALL_LIMIT:g} s") from None
        if ended.returncode:
            errors = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")]
            raise Unmeasurable(f"could not be installed: {last_line(errors[-1] if errors else ended.stderr)}")
    stamp.touch()
    return inside


def _fitting_python(oldest: tuple[int, int]) -> Path:
    """Ours, if it is new enough; else any that is."""
    if sys.version_info[:2] >= oldest:
        return Path(sys.executable)
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in (minor for minor in range(14, 10, -1) if (3, minor) >= oldest):
        found = shutil.which(f"python3.{minor}")
        for place in [*([Path(found)] if found else []), *sorted(versions.glob(f"3.{minor}.*/bin/python"))]:
            if _version_of(place) == (3, minor):
                return place
    raise Unmeasurable(f"needs Python {oldest[0]}.{oldest[1]}, and there is none")


def _version_of(python: Path) -> tuple[int, ...] | None:
    try:
        ended = subprocess.run(
            [str(python), "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, timeout=60, check=False
        )
    except OSError:
        return None
    return tuple(int(part) for part in ended.stdout.split()) if not ended.returncode else None
