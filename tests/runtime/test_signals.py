"""SIGINT and SIGTERM end a run: the first in order, the second at once. In processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest

PROGRAM = Path(__file__).with_name("signalled.py")


class Program:
    """A run in another process."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_for(self, text: str) -> None:
        """Reads what it prints until that line has come."""
        assert self._process.stdout is not None
        while (line := self._process.stdout.readline()).strip() != text:
            assert line, f"it ended without saying {text!r}"

    def signal(self, number: Signals) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    def signal_until_it_ends(self, number: Signals) -> None:
        """Sends signals, as an impatient person would: two at once may count as one."""
        for _ in range(300):
            self._process.send_signal(number)
            try:
                self._process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            return

    def end(self) -> tuple[list[str], str]:
        """The rest of what it printed, and its errors."""
        output, errors = self._process.communicate(timeout=30)
        return output.splitlines(), errors

    @property
    def code(self) -> int:
        """Its exit code."""
        return self._process.wait()

    def kill(self) -> None:
        """Ends it whatever it does."""
        self._process.kill()
        self._process.communicate()


StartProgram = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[StartProgram]:
    """Starts programs, and sees to it that they end."""
    programs: list[Program] = []

    def start_program(*arguments: str) -> Program:
        programs.append(Program(*arguments))
        programs[-1].wait_for("ready")
        return programs[-1]

    yield start_program
    for program in programs:
        program.kill()


@pytest.mark.parametrize("arguments", [["Sink"], ["Sink", "keep"]])
@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_signal_ends_a_run_in_order(start: StartProgram, number: Signals, arguments: list[str]) -> None:
    program = start(*arguments)

    program.signal(number)

    name = number.name
    assert program.end() == (
        [f"{name}: shutting down in order (again: at once)", "ticker stopped: shutdown", f"interrupted by {name}"],
        "",
    )
    assert program.code == 0


def test_on_drained_runs_when_a_signal_ends_a_run(start: StartProgram) -> None:
    program = start("Draining")

    program.signal(SIGTERM)

    assert program.end()[0][1:] == ["draining drained", "ticker stopped: shutdown", "interrupted by SIGTERM"]


@pytest.mark.parametrize(("first", "second"), [(SIGINT, SIGINT), (SIGTERM, SIGTERM), (SIGTERM, SIGINT)])
@pytest.mark.parametrize("hanging", ["Stuck", "HangingStop"])
def test_a_second_signal_ends_a_run_that_is_stuck_in_its_end(start: StartProgram, hanging: str, first: Signals, second: Signals) -> None:
    program = start(hanging)

    program.signal(first)
    program.wait_for(f"{first.name}: shutting down in order (again: at once)")
    program.signal(second)

    output, errors = program.end()
    assert (output[-1], errors) == (f"cancelled by {second.name}", "")


@pytest.mark.parametrize("busy", ["Busy", "BusyPlain", "BusySource"])
@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_second_signal_ends_code_that_never_lets_go(start: StartProgram, number: Signals, busy: str) -> None:
    program = start(busy)

    program.signal_until_it_ends(number)

    output, errors = program.end()
    assert (output[-1], errors) == (f"cancelled by {number.name}", "")


def test_a_second_signal_ends_a_run_that_does_not_start(start: StartProgram) -> None:
    program = start("HangingStart")

    program.signal_until_it_ends(SIGINT)

    output, errors = program.end()
    assert (output[-1], errors) == ("cancelled by SIGINT", "")


def test_without_handling_signals_ctrl_c_is_a_keyboard_interrupt(start: StartProgram) -> None:
    program = start("Sink", "unhandled")

    program.signal(SIGINT)

    output, errors = program.end()
    assert output == ["ticker stopped: killed"] or output == ["ticker stopped: shutdown"]
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
