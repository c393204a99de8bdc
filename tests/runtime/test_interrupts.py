"""Ctrl-C, and handlers that raise what is no failure: the system ends with it, and its books balance."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actorkit import Actor, OutPort, System, child, in_port, open_system, supervisor
from actorkit._runtime import dispatcher


class Raises(Actor):
    @in_port
    def in_plain(self, error: BaseException) -> None:
        raise error

    @in_port
    def in_next(self, x: int) -> None:
        pass


class RaisesLater(Actor):
    @in_port
    async def in_plain(self, error: BaseException) -> None:
        raise error

    @in_port
    async def in_late(self, error: BaseException) -> None:
        await trio.sleep(1)
        raise error

    @in_port
    async def in_next(self, x: int) -> None:
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("how", ["plain", "async", "after a wait", "asked"])
async def test_a_handler_that_raises_what_is_no_failure_ends_the_system_with_it(error: type[BaseException], how: str) -> None:
    kept: list[System] = []

    with pytest.raises(error):
        async with open_system(supervisor(child(Raises), child(RaisesLater), name="s")) as system:
            kept.append(system)
            plain, later = system.ref(Raises), system.ref(RaisesLater)
            match how:
                case "asked":
                    await plain.ask(Raises.in_plain, error("stop"))
                case "plain":
                    plain.send_nowait(Raises.in_plain, error("stop"))
                case "async":
                    later.send_nowait(RaisesLater.in_plain, error("stop"))
                case _:
                    later.send_nowait(RaisesLater.in_late, error("stop"))
            for i in range(5):
                plain.send_nowait(Raises.in_next, i)
                later.send_nowait(RaisesLater.in_next, i)
            await trio.sleep_forever()

    ledger = kept[0].ledger()
    ledger.check()
    assert (ledger.accepted, ledger.queued, ledger.in_flight) == (1 if how == "asked" else 11, 0, 0)
    assert ledger.dead_lettered >= 1  # the one that was in hand


class Collects(Actor):
    @in_port(capacity=3)
    async def in_x(self, x: int) -> int:
        if x % 5 == 0:
            await trio.sleep(0.1)
        return x


class Relays(Actor):
    out_x = OutPort(int)

    @in_port(capacity=3)
    async def in_x(self, x: int) -> None:
        await self.out_x.send(x)
        await self.system.ref(Collects).ask(Collects.in_x, x)
        if x % 7 == 0:
            raise ValueError("on purpose")


class Counts(Actor):
    out_x = OutPort(int)

    async def run(self) -> None:
        for i in range(15):
            await self.out_x.send(i)


def interrupt_at(line: int, files: tuple[str, ...]) -> Callable[[FrameType, str, Any], Any]:
    """A trace function that presses Ctrl-C at so many lines of the runtime's message path."""
    passed = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal passed
        if not frame.f_code.co_filename.endswith(files) or "actorkit" not in frame.f_code.co_filename:
            return None
        if event == "line":
            passed += 1
            if passed == line:
                signal.raise_signal(signal.SIGINT)
        return trace

    return trace


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Python's own handler of Ctrl-C, which trio needs to find there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    trace = sys.gettrace()
    yield
    sys.settrace(trace)
    signal.signal(signal.SIGINT, before)


PLACES = [
    (("mailbox.py",), 11),
    (("waits.py",), 5),
    (("cell.py", "recovery.py"), 23),
    (("dispatcher.py", "timers.py"), 41),
    (("actor_child.py", "child.py", "incarnation.py", "supervision.py", "supervisor.py", "turns.py"), 17),
]


IS_COMPILED = not str(dispatcher.__file__).endswith(".py")


@pytest.mark.skipif(IS_COMPILED, reason="a compiled module has no lines to press Ctrl-C at")
@pytest.mark.parametrize(("files", "step"), PLACES, ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_ctrl_c_never_splits_the_books_wherever_it_comes(files: tuple[str, ...], step: int, ctrl_c: None) -> None:
    kept: list[System] = []

    async def main(line: int) -> None:
        wires = [Counts.out_x >> Relays.in_x, Relays.out_x >> Collects.in_x]
        async with open_system(supervisor(child(Collects), child(Relays), child(Counts), wires=wires, name="s")) as system:
            kept.append(system)
            sys.settrace(interrupt_at(line, files))
            await system.wait()

    interrupted = 0
    for line in range(1, 50 * step, step):
        try:
            trio.run(main, line, clock=MockClock(autojump_threshold=0))
        except* KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(None)
        ledger = kept[-1].ledger()
        ledger.check()
        assert (ledger.queued, ledger.in_flight) == (0, 0), line

    assert interrupted > 10
