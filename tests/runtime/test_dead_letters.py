"""Dead letters: what is kept of a message given up, and what can be done with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from actorkit import (
    Actor,
    DeadLetter,
    DeadLetterQueue,
    DeadLetterReason,
    MessageTypeError,
    SpecError,
    SpecTypeError,
    SupervisorSpec,
    UnknownActor,
    ValidationError,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import DeadLettersDiscarded, DeadLettersEvicted, MessageDeadLettered

PORT = "root/top/gate.in_guest"


class Gate(Actor):
    """Lets in whoever is on the list. Its port has room for two."""

    def __init__(self, guests: set[str], inside: list[str]) -> None:
        self.guests = guests
        self.inside = inside

    @in_port(capacity=2)
    def in_guest(self, guest: str) -> None:
        if guest not in self.guests:
            raise ValidationError(f"{guest} is not on the list")
        self.inside.append(guest)


def tree(guests: set[str], inside: list[str]) -> SupervisorSpec:
    """One gate."""
    return supervisor(child(Gate, guests, inside), name="top")


async def test_a_dead_letter_says_what_where_why_and_when() -> None:
    before = datetime.now(UTC)

    async with open_system(tree(set(), [])) as system:
        await system.ref(Gate).send(Gate.in_guest, "Eve")
        await system.settle()
        (letter,) = await system.dead_letters.inspect()

    assert (letter.message, letter.port, letter.reason, letter.attempts) == ("Eve", PORT, DeadLetterReason.VALIDATION, 1)
    assert letter.error is not None
    assert str(letter.error.exception) == "Eve is not on the list"
    assert before <= letter.dead_since <= datetime.now(UTC)


async def test_letters_are_inspected_oldest_first_and_by_a_filter() -> None:
    async with open_system(tree(set(), [])) as system:
        for guest in ("Eve", "Mallory", "Trudy"):
            await system.ref(Gate).send(Gate.in_guest, guest)
        await system.settle()

        assert len(system.dead_letters) == 3
        assert [letter.message for letter in await system.dead_letters.inspect()] == ["Eve", "Mallory", "Trudy"]
        assert [letter.message for letter in await system.dead_letters.inspect(lambda letter: "y" in letter.message)] == [
            "Mallory",
            "Trudy",
        ]


async def test_a_reprocessed_letter_is_a_new_acceptance() -> None:
    guests: set[str] = set()
    inside: list[str] = []

    async with open_system(tree(guests, inside)) as system:
        await system.ref(Gate).send(Gate.in_guest, "Ada")
        await system.settle()
        guests.add("Ada")
        sent = await system.dead_letters.reprocess()
        await system.settle()

        ledger = system.ledger()
    assert sent == 1
    assert inside == ["Ada"]
    assert len(system.dead_letters) == 0
    assert (ledger.accepted, ledger.processed, ledger.dead_lettered) == (2, 1, 1)
    ledger.check()


async def test_a_reprocessed_letter_that_fails_again_is_a_dead_letter_again() -> None:
    async with open_system(tree(set(), [])) as system:
        await system.ref(Gate).send(Gate.in_guest, "Eve")
        await system.settle()
        await system.dead_letters.reprocess()
        await system.settle()

        assert [letter.message for letter in await system.dead_letters.inspect()] == ["Eve"]
        assert system.ledger().dead_lettered == 2


async def test_only_letters_that_the_filter_picks_are_reprocessed_and_at_most_so_many() -> None:
    guests: set[str] = set()
    inside: list[str] = []

    async with open_system(tree(guests, inside)) as system:
        for guest in ("Ada", "Bo", "Cy", "Di"):
            await system.ref(Gate).send(Gate.in_guest, guest)
        await system.settle()
        guests |= {"Ada", "Bo", "Cy", "Di"}
        sent = await system.dead_letters.reprocess(lambda letter: letter.message != "Ada", max_messages=2)
        await system.settle()

        assert sent == 2
        assert inside == ["Bo", "Cy"]
        assert [letter.message for letter in await system.dead_letters.inspect()] == ["Ada", "Di"]


async def test_reprocessing_waits_while_a_port_is_full() -> None:
    guests: set[str] = set()
    inside: list[str] = []

    async with open_system(tree(guests, inside)) as system:
        for guest in ("Ada", "Bo", "Cy"):
            await system.ref(Gate).send(Gate.in_guest, guest)
        await system.settle()
        guests |= {"Ada", "Bo", "Cy"}
        sent = await system.dead_letters.reprocess()
        await system.settle()

        assert sent == 3
        assert inside == ["Ada", "Bo", "Cy"]
        assert len(system.dead_letters) == 0


async def test_what_a_stopped_actor_does_not_take_stays_a_dead_letter() -> None:
    async with open_system(tree(set(), [])) as system:
        await system.ref(Gate).send(Gate.in_guest, "Eve")
        await system.settle()
        await system.supervisor("root/top").stop_child("gate")

        assert await system.dead_letters.reprocess() == 0
        assert len(system.dead_letters) == 1


async def test_a_letter_to_an_actor_that_no_longer_exists_says_so() -> None:
    async with open_system(tree(set(), [])) as system:
        await system.ref(Gate).send(Gate.in_guest, "Eve")
        await system.settle()
        await system.supervisor("root/top").stop_child("gate")
        await system.supervisor("root/top").delete_child("gate")

        with pytest.raises(UnknownActor, match=f"dead letter 1: there is no port '{PORT}' \\(any more\\); discard it, or start that actor"):
            await system.dead_letters.reprocess()
        assert len(system.dead_letters) == 1


async def test_letters_are_discarded_by_a_filter_and_the_reason_is_told() -> None:
    async with open_system(tree(set(), [])) as system:
        told = system.events(DeadLettersDiscarded)
        for guest in ("Eve", "Mallory"):
            await system.ref(Gate).send(Gate.in_guest, guest)
        await system.settle()
        discarded = await system.dead_letters.discard(lambda letter: letter.message == "Eve", "not wanted")

        assert discarded == 1
        assert [letter.message for letter in await system.dead_letters.inspect()] == ["Mallory"]
    assert [(each.count, each.reason) async for each in told] == [(1, "not wanted")]


async def test_the_oldest_letters_are_evicted_beyond_the_size_with_a_critical_event() -> None:
    letters = DeadLetterQueue(max_size=2)

    async with open_system(tree(set(), []), dead_letters=letters) as system:
        told = system.events(DeadLettersEvicted)
        for guest in ("Eve", "Mallory", "Trudy"):
            await system.ref(Gate).send(Gate.in_guest, guest)
        await system.settle()

        assert system.dead_letters is letters
        assert [letter.message for letter in await letters.inspect()] == ["Mallory", "Trudy"]
        assert (len(letters), letters.evicted) == (2, 1)
        assert system.ledger().dead_lettered == 3
    assert [(each.evicted, each.level) async for each in told] == [(1, 50)]


async def test_a_letter_may_be_added_by_hand_and_sent() -> None:
    inside: list[str] = []

    async with open_system(tree({"Ada"}, inside)) as system:
        await system.dead_letters.add("Ada", PORT, DeadLetterReason.EXPIRED)
        assert system.ledger().dead_lettered == 0

        await system.dead_letters.reprocess()
        await system.settle()
    assert inside == ["Ada"]


async def test_a_letter_that_its_port_does_not_take_is_not_sent() -> None:
    async with open_system(tree(set(), [])) as system:
        await system.dead_letters.add(7, PORT, DeadLetterReason.EXPIRED)

        with pytest.raises(MessageTypeError, match="takes str, not int: 7"):
            await system.dead_letters.reprocess()
        assert len(system.dead_letters) == 1
        assert system.ledger().accepted == 0


async def test_a_queue_works_outside_a_system() -> None:
    letters = DeadLetterQueue()

    await letters.add("Eve", PORT, DeadLetterReason.EXPIRED)

    assert [(letter.id, letter.message) for letter in await letters.inspect()] == [(1, "Eve")]
    assert await letters.discard(lambda _: True, "enough") == 1
    assert len(letters) == 0


async def test_a_message_sent_to_an_actor_that_was_stopped_is_a_dead_letter() -> None:
    async with open_system(tree({"Ada"}, [])) as system:
        await system.supervisor("root/top").stop_child("gate")
        await system.ref(Gate).send(Gate.in_guest, "Ada")
        (letter,) = await system.dead_letters.inspect()

    assert (letter.reason, letter.attempts, letter.error) == (DeadLetterReason.RECEIVER_STOPPED, 0, None)


async def test_every_dead_letter_is_an_event() -> None:
    async with open_system(tree(set(), [])) as system:
        told = system.events(MessageDeadLettered)
        await system.ref(Gate).send(Gate.in_guest, "Eve")
        await system.settle()

    letters: list[DeadLetter] = [each.letter async for each in told]
    assert letters == await system.dead_letters.inspect()


@pytest.mark.parametrize(("size", "error"), [(0, SpecError), (-1, SpecError), ("many", SpecTypeError), (True, SpecTypeError)])
def test_a_size_that_is_no_size_is_refused(size: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_size"):
        DeadLetterQueue(max_size=size)


def test_a_reason_is_the_string_that_it_was_in_the_ledger() -> None:
    assert {str(reason) for reason in DeadLetterReason} >= {"poison", "retries_exhausted", "receiver_stopped", "shutdown"}


@pytest.mark.parametrize("rate", [0, -1, "fast"])
async def test_a_rate_of_reprocessing_is_more_than_nothing(rate: Any) -> None:
    letters = DeadLetterQueue()

    with pytest.raises(ValueError, match=f"reprocess: rate = {rate!r}: expected dead letters a second, more than 0, or None"):
        await letters.reprocess(rate=rate)
