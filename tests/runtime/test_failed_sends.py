"""A send that fails where no message is in hand: a failure of the actor, at a port."""

from __future__ import annotations

from datetime import UTC, datetime

import trio

from actorkit import Actor, ErrorCategory, ErrorContext, MailboxFull, OutPort, child, in_port, open_system, supervisor


class Source(Actor):
    out_number = OutPort(int)

    def __init__(self, wrong: object, fails: list[object]) -> None:
        self.wrong = wrong
        self.fails = fails

    async def run(self) -> None:
        if self.fails:
            self.out_number.send_nowait(self.fails.pop())  # type: ignore[arg-type]


class Sink(Actor):
    @in_port(capacity=1)
    async def in_number(self, number: int) -> None:
        await trio.sleep_forever()


class Monitor(Actor):
    def __init__(self, errors: list[ErrorContext]) -> None:
        self.errors = errors

    @in_port
    def in_error(self, error: ErrorContext) -> None:
        self.errors.append(error)


async def test_a_failed_send_of_a_source_names_its_component_and_its_port() -> None:
    errors: list[ErrorContext] = []
    source = child(Source, "x", ["not a number"])
    tree = supervisor(
        source,
        child(Sink),
        child(Monitor, errors),
        wires=[source[Source.out_number] >> Sink.in_number, source[Source.err_errors] >> Monitor.in_error],
        name="tree",
    )
    async with open_system(tree) as system:
        await system.wait()

    assert [(error.component_name, error.port_name, error.message_id) for error in errors] == [("root/tree/source", "out_number", None)]


async def test_a_port_without_room_is_a_transient_failure() -> None:
    class Pushy(Actor):
        tries = 0

        @in_port
        def in_go(self, number: int) -> int:
            self.tries += 1
            self.system.ref(Sink).send_nowait(Sink.in_number, number)
            return self.tries

    async with open_system(supervisor(child(Pushy), child(Sink)), seed=1) as system:
        errors = system.kernel.errors
        for number in range(3):
            await system.ref(Pushy).send(Pushy.in_go, number)
        await trio.sleep(60)

        assert {error.category for error in errors} == {ErrorCategory.TRANSIENT}
        assert {type(error.exception) for error in errors} == {MailboxFull}
        assert system.ledger().dead_lettered_by == {"retries_exhausted": 1}


async def test_a_failure_says_when_it_was_seen_first_and_last_on_both_clocks() -> None:
    class Fails(Actor):
        @in_port
        def in_go(self, number: int) -> None:
            raise ValueError(number)

    started = datetime.now(UTC)
    async with open_system(child(Fails)) as system:
        for number in range(2):
            await system.ref(Fails).send(Fails.in_go, number)
            await system.settle()
            await trio.sleep(10)

        first, second = (letter.error for letter in await system.dead_letters.inspect())

    assert first is not None
    assert second is not None
    assert (first.occurrence_count, second.occurrence_count) == (1, 2)
    assert second.last_occurrence - second.first_occurrence == 10
    assert second.first_seen == first.first_seen
    assert started <= first.first_seen <= second.last_seen <= datetime.now(UTC)  # type: ignore[operator]
