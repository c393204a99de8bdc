"""Asking: the answer, or what comes instead of it, and when."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actorkit import (
    Actor,
    ActorRef,
    AskFailed,
    DeadlockError,
    MessageTypeError,
    PermanentError,
    RecoveryAction,
    RecoveryPolicy,
    Rule,
    SpecError,
    SpecTypeError,
    SupervisionError,
    System,
    TransientError,
    ValidationError,
    child,
    in_port,
    open_system,
    run,
    supervisor,
)
from actorkit.events import MessageSkipped


class Oracle(Actor):
    """Answers in many ways."""

    def __init__(self, seen: list[object] | None = None) -> None:
        self.seen = [] if seen is None else seen

    @in_port
    def in_length(self, text: str) -> int:
        self.seen.append(text)
        return len(text)

    @in_port
    async def in_slow(self, seconds: float) -> str:
        self.seen.append(seconds)
        await trio.sleep(seconds)
        return f"after {seconds:g} s"

    @in_port
    def in_fail(self, error: Exception) -> int:
        self.seen.append(error)
        raise error

    @in_port(capacity=1)
    async def in_narrow(self, seconds: float) -> str:
        self.seen.append(seconds)
        await trio.sleep(seconds)
        return "narrow"


class Middle(Actor):
    """Asks somebody else to find its answer."""

    def __init__(self, oracle: str, notes: list[object]) -> None:
        self.oracle = oracle
        self.notes = notes

    @in_port
    async def in_relay(self, seconds: float) -> str:
        oracle: ActorRef[Oracle] = self.system.ref(self.oracle, Oracle)
        started = trio.current_time()
        try:
            return await oracle.ask(Oracle.in_slow, seconds, timeout=100)
        except trio.TooSlowError:
            self.notes.append(trio.current_time() - started)
            raise PermanentError("no answer from the oracle") from None


def oracle(system: System) -> ActorRef[Oracle]:
    """The oracle of a system that has one."""
    return system.ref(Oracle)


# ---- answers


async def test_the_answer_is_what_the_handler_returns() -> None:
    async with open_system(supervisor(child(Oracle))) as system:
        assert await oracle(system).ask(Oracle.in_length, "four") == 4
        assert await oracle(system).ask(Oracle.in_slow, 1.0) == "after 1 s"


async def test_answers_go_to_whoever_asked() -> None:
    answers: dict[int, int] = {}

    async def ask(ref: ActorRef[Oracle], length: int) -> None:
        answers[length] = await ref.ask(Oracle.in_length, "x" * length)

    async with open_system(supervisor(child(Oracle))) as system:
        async with trio.open_nursery() as nursery:
            for length in range(20):
                nursery.start_soon(ask, oracle(system), length)

        assert answers == {length: length for length in range(20)}


async def test_one_actor_asks_another_while_it_handles_a_message() -> None:
    async with open_system(supervisor(child(Oracle), child(Middle, "root/supervisor/oracle", []))) as system:
        assert await system.ref(Middle).ask(Middle.in_relay, 1.0) == "after 1 s"


async def test_a_handler_may_be_told_instead_of_asked_and_its_answer_is_dropped() -> None:
    async with open_system(supervisor(child(Oracle))) as system:
        await oracle(system).send(Oracle.in_length, "four")
        await system.settle()

        assert system.ledger().processed == 1


# ---- too slow


async def test_an_ask_ends_at_its_deadline() -> None:
    async with open_system(supervisor(child(Oracle))) as system:
        started = trio.current_time()

        with pytest.raises(trio.TooSlowError, match=r"root/supervisor/oracle\.in_slow"):
            await oracle(system).ask(Oracle.in_slow, 10.0, timeout=2.0)

        assert trio.current_time() - started == pytest.approx(2.0)


async def test_an_ask_waits_for_five_seconds_when_nobody_says_otherwise() -> None:
    async with open_system(supervisor(child(Oracle))) as system:
        started = trio.current_time()

        with pytest.raises(trio.TooSlowError):
            await oracle(system).ask(Oracle.in_slow, 10.0)

        assert trio.current_time() - started == pytest.approx(5.0)


async def test_an_ask_without_a_timeout_waits_as_long_as_it_takes() -> None:
    async with open_system(supervisor(child(Oracle))) as system:
        assert await oracle(system).ask(Oracle.in_slow, 1000.0, timeout=None) == "after 1000 s"


@pytest.mark.parametrize(("timeout", "kind"), [(-1, SpecError), (float("nan"), SpecError), ("5", SpecTypeError), (True, SpecTypeError)])
async def test_a_timeout_is_seconds_from_zero(timeout: Any, kind: type[Exception]) -> None:
    async with open_system(supervisor(child(Oracle))) as system:
        with pytest.raises(kind, match=r"root/supervisor/oracle\.in_length: timeout = .*: expected seconds, 0 or more"):
            await oracle(system).ask(Oracle.in_length, "four", timeout=timeout)

        assert system.ledger().accepted == 0


async def test_a_request_whose_asker_has_gone_is_not_handled() -> None:
    seen: list[object] = []
    async with open_system(supervisor(child(Oracle, seen))) as system:
        skipped = system.events(MessageSkipped)
        await oracle(system).send(Oracle.in_slow, 10.0)

        with pytest.raises(trio.TooSlowError):
            await oracle(system).ask(Oracle.in_length, "four", timeout=1.0)
        await system.settle()

        assert seen == [10.0]
        assert system.ledger().skipped_by == {"asker_gone": 1}
        system.ledger().check()

    assert [each async for each in skipped] == [MessageSkipped("root/supervisor/oracle.in_length", "asker_gone")]


async def test_an_ask_that_finds_no_room_in_time_was_never_accepted() -> None:
    async with open_system(supervisor(child(Oracle))) as system:
        await oracle(system).send(Oracle.in_narrow, 10.0)
        await wait_all_tasks_blocked()
        await oracle(system).send(Oracle.in_narrow, 10.0)

        with pytest.raises(trio.TooSlowError):
            await oracle(system).ask(Oracle.in_narrow, 0.0, timeout=1.0)

        assert system.ledger().accepted == 2
        await system.settle()
        assert system.ledger().processed == 2


async def test_an_ask_waits_for_room_and_then_for_its_answer() -> None:
    async with open_system(supervisor(child(Oracle))) as system:
        for _ in range(2):
            await oracle(system).send(Oracle.in_narrow, 1.0)
            await wait_all_tasks_blocked()

        assert await oracle(system).ask(Oracle.in_narrow, 1.0) == "narrow"


async def test_a_deadline_is_inherited_by_asks_made_while_handling() -> None:
    notes: list[object] = []
    async with open_system(supervisor(child(Oracle), child(Middle, "root/supervisor/oracle", notes))) as system:
        with pytest.raises(trio.TooSlowError):
            await system.ref(Middle).ask(Middle.in_relay, 50.0, timeout=3.0)
        await system.settle()

        assert notes == [pytest.approx(3.0)]


async def test_what_is_left_of_a_deadline_is_inherited() -> None:
    notes: list[object] = []
    async with open_system(supervisor(child(Oracle), child(Middle, "root/supervisor/oracle", notes))) as system:
        await system.ref(Middle).send(Middle.in_relay, 2.0)  # keeps it busy for 2 s, under nobody's deadline

        with pytest.raises(trio.TooSlowError):
            await system.ref(Middle).ask(Middle.in_relay, 50.0, timeout=3.0)
        await system.settle()

        assert notes == [pytest.approx(1.0)]


async def test_a_cancelled_ask_is_not_handled() -> None:
    seen: list[object] = []
    async with open_system(supervisor(child(Oracle, seen))) as system:
        await oracle(system).send(Oracle.in_slow, 10.0)

        with trio.move_on_after(1.0) as scope:
            await oracle(system).ask(Oracle.in_length, "four", timeout=None)
        await system.settle()

        assert scope.cancelled_caught
        assert seen == [10.0]
        assert system.ledger().skipped_by == {"asker_gone": 1}


async def test_an_asker_that_is_killed_has_gone() -> None:
    seen: list[object] = []
    tree = supervisor(child(Oracle, seen), child(Middle, "root/supervisor/oracle", []).options(shutdown=0.0))
    async with open_system(tree) as system:
        await oracle(system).send(Oracle.in_slow, 10.0)
        await wait_all_tasks_blocked()
        await system.ref(Middle).send(Middle.in_relay, 3.0)
        await wait_all_tasks_blocked()

        await system.supervisor("root/supervisor").stop_child("middle")
        await system.settle()

        assert seen == [10.0]
        system.ledger().check()


# ---- no answer


async def test_an_ask_fails_at_once_when_its_message_is_quarantined() -> None:
    async with open_system(supervisor(child(Oracle))) as system:
        started = trio.current_time()

        with pytest.raises(AskFailed, match=r"root/supervisor/oracle\.in_fail will not answer \(validation\): .*bad data") as caught:
            await oracle(system).ask(Oracle.in_fail, ValidationError("bad data"))

        assert trio.current_time() == started
        assert caught.value.error is not None
        assert str(caught.value.error.exception) == "bad data"
        assert len(system.dead_letters) == 1


async def test_an_ask_fails_at_once_when_its_message_is_skipped() -> None:
    policy = RecoveryPolicy(rules=[Rule(RecoveryAction.LOG_AND_CONTINUE)])
    async with open_system(supervisor(child(Oracle), recovery=policy)) as system:
        with pytest.raises(AskFailed, match=r"root/supervisor/oracle\.in_fail could not answer, its handler failed: .*a bug") as caught:
            await oracle(system).ask(Oracle.in_fail, RuntimeError("a bug"))

        assert caught.value.error is not None
        assert system.ledger().skipped_by == {"log_continue": 1}


async def test_an_ask_fails_at_once_when_all_retries_are_used_up() -> None:
    async with open_system(supervisor(child(Oracle))) as system:
        with pytest.raises(AskFailed, match="retries_exhausted") as caught:
            await oracle(system).ask(Oracle.in_fail, TransientError("still down"), timeout=None)

        assert caught.value.error is not None
        assert caught.value.error.recovery_attempts == 3


async def test_an_ask_fails_at_once_when_the_actor_is_stopped_by_hand() -> None:
    seen: list[object] = []
    async with open_system(supervisor(child(Oracle, seen))) as system, trio.open_nursery() as nursery:
        failures: list[AskFailed] = []

        async def ask() -> None:
            with pytest.raises(AskFailed) as caught:
                await oracle(system).ask(Oracle.in_length, "four", timeout=None)
            failures.append(caught.value)

        await oracle(system).send(Oracle.in_slow, 1000.0)
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await system.supervisor("root/supervisor").stop_child("oracle")
        await wait_all_tasks_blocked()

        assert [each.error for each in failures] == [None]
        assert "root/supervisor/oracle.in_length" in str(failures[0])
        await system.supervisor("root/supervisor").restart_child("oracle")
        await system.settle()
        assert "four" not in seen  # nobody waits for that answer any more


async def test_an_ask_fails_at_once_when_the_actor_is_deleted() -> None:
    async with open_system(supervisor(child(Oracle))) as system:
        ref = oracle(system)
        await system.supervisor("root/supervisor").stop_child("oracle")
        await system.supervisor("root/supervisor").delete_child("oracle")

        with pytest.raises(AskFailed, match=r"root/supervisor/oracle\.in_length will not answer \(receiver_stopped\): the actor has ended"):
            await ref.ask(Oracle.in_length, "four", timeout=None)

        assert system.ledger().dead_lettered == 1


async def test_an_ask_fails_at_once_when_the_system_ends() -> None:
    async with open_system(supervisor(child(Oracle))) as system:
        ref = oracle(system)

    with pytest.raises(AskFailed):
        await ref.ask(Oracle.in_length, "four", timeout=None)


async def test_an_ask_under_way_when_the_system_ends_fails() -> None:
    failures: list[AskFailed] = []

    async def ask(ref: ActorRef[Oracle]) -> None:
        with pytest.raises(AskFailed) as caught:
            await ref.ask(Oracle.in_slow, 1000.0, timeout=None)
        failures.append(caught.value)

    async with trio.open_nursery() as nursery, open_system(supervisor(child(Oracle))) as system:
        nursery.start_soon(ask, oracle(system))
        await wait_all_tasks_blocked()

    assert len(failures) == 1
    assert [each.reason for each in await system.dead_letters.inspect()] == ["shutdown"]


async def test_an_ask_fails_when_the_actor_is_given_up() -> None:
    tree = supervisor(child(Oracle), recovery=RecoveryPolicy(rules=[Rule(RecoveryAction.ESCALATE)]))
    failures: list[AskFailed] = []

    async def ask(ref: ActorRef[Oracle]) -> None:
        with pytest.raises(AskFailed) as caught:
            await ref.ask(Oracle.in_fail, RuntimeError("a bug"), timeout=None)
        failures.append(caught.value)

    async with trio.open_nursery() as nursery:
        with pytest.raises(SupervisionError):
            async with open_system(tree) as system:
                for _ in range(3):
                    nursery.start_soon(ask, oracle(system))
                await trio.sleep(60)

    assert len(failures) == 3


async def test_the_error_of_a_failed_ask_names_its_cause_to_an_asking_actor() -> None:
    class Asker(Actor):
        def __init__(self, notes: list[str]) -> None:
            self.notes = notes

        @in_port
        async def in_go(self, go: None) -> None:
            try:
                await self.system.ref(Oracle).ask(Oracle.in_fail, ValidationError("bad data"))
            except AskFailed as failure:
                self.notes.append(str(failure.error))

    notes: list[str] = []
    async with open_system(supervisor(child(Oracle), child(Asker, notes))) as system:
        await system.ref(Asker).ask(Asker.in_go, None)

        assert ["root/supervisor/oracle" in note for note in notes] == [True]


# ---- across failures


class Fragile(Actor):
    """Fails its first tries, in the way it is told to."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors = errors

    @in_port
    def in_question(self, question: str) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return question.upper()


@pytest.mark.parametrize("errors", [[TransientError("wait")], [RuntimeError("a bug")], [RuntimeError("a bug"), TransientError("wait")]])
async def test_an_ask_waits_across_retries_and_restarts(errors: list[Exception]) -> None:
    async with open_system(supervisor(child(Fragile, list(errors)))) as system:
        assert await system.ref(Fragile).ask(Fragile.in_question, "why") == "WHY"


async def test_an_ask_waits_while_its_actor_restarts() -> None:
    class Slow(Actor):
        def __init__(self, lives: list[int]) -> None:
            self.lives = lives

        async def on_start(self) -> None:
            self.lives.append(1)
            if len(self.lives) > 1:
                await trio.sleep(2)

        @in_port
        def in_crash(self, message: None) -> None:
            if len(self.lives) == 1:
                raise RuntimeError("a bug")

        @in_port
        def in_lives(self, question: None) -> int:
            return len(self.lives)

    async with open_system(supervisor(child(Slow, []))) as system:
        await system.ref(Slow).send(Slow.in_crash, None)

        assert await system.ref(Slow).ask(Slow.in_lives, None) == 2


async def test_a_deadline_ends_an_ask_that_waits_for_a_retry() -> None:
    async with open_system(supervisor(child(Fragile, [TransientError("wait", retry_after=10.0)]))) as system:
        with pytest.raises(trio.TooSlowError):
            await system.ref(Fragile).ask(Fragile.in_question, "why", timeout=1.0)
        await system.settle()

        assert system.ledger().skipped_by == {"asker_gone": 1}
        system.ledger().check()


# ---- oneself


class Selfish(Actor):
    """Asks itself."""

    def __init__(self, notes: list[object], where: str = "") -> None:
        self.notes = notes
        self.where = where

    async def note(self) -> None:
        try:
            self.notes.append(await self.ref.ask(Selfish.in_number, None))
        except DeadlockError as error:
            self.notes.append(str(error))

    async def on_start(self) -> None:
        if self.where == "on_start":
            await self.note()

    async def on_drained(self) -> None:
        if self.where == "on_drained":
            await self.note()

    async def on_stop(self, reason: object) -> None:
        if self.where == "on_stop":
            await self.note()

    @in_port
    async def in_go(self, go: None) -> None:
        await self.note()

    @in_port
    async def in_nursery(self, go: None) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.note)

    @in_port
    def in_background(self, go: None) -> None:
        self.start_soon(self.note)

    @in_port
    def in_number(self, question: None) -> int:
        return 3


@pytest.mark.parametrize("port", ["in_go", "in_nursery"])
async def test_an_actor_that_asks_itself_is_told_so(port: str) -> None:
    notes: list[object] = []
    async with open_system(supervisor(child(Selfish, notes))) as system:
        await system.ref(Selfish).send(getattr(Selfish, port), None)
        await system.settle()

        assert notes == [
            "root/supervisor/selfish asks itself: root/supervisor/selfish → root/supervisor/selfish.in_number → root/supervisor/selfish"
            " would wait for ever, as it handles one message at a time, and none while a hook runs; call the method directly, or"
            " ask from a background task (self.start_soon)"
        ]
        assert system.ledger().accepted == 1


@pytest.mark.parametrize("hook", ["on_start", "on_drained", "on_stop"])
def test_an_actor_that_asks_itself_in_a_hook_is_told_so(hook: str) -> None:
    notes: list[Any] = []

    run(supervisor(child(Selfish, notes, hook)))

    assert [note.partition(":")[0] for note in notes] == ["root/supervisor/selfish asks itself"]


async def test_an_actor_may_ask_itself_in_the_background() -> None:
    notes: list[object] = []
    async with open_system(supervisor(child(Selfish, notes))) as system:
        await system.ref(Selfish).send(Selfish.in_background, None)
        await system.wait()

        assert notes == [3]


async def test_a_self_ask_that_nobody_catches_is_given_up_without_a_restart() -> None:
    class Naive(Actor):
        @in_port
        async def in_go(self, go: None) -> None:
            await self.ref.ask(Naive.in_go, None)

    async with open_system(supervisor(child(Naive))) as system:
        await system.ref(Naive).send(Naive.in_go, None)
        await system.settle()

        (letter,) = await system.dead_letters.inspect()
        assert letter.error is not None
        assert isinstance(letter.error.exception, DeadlockError)
        assert system.supervisor("root/supervisor").which_children()[0].restarts == 0


async def test_a_wrong_request_is_refused_at_the_asker() -> None:
    async with open_system(supervisor(child(Oracle))) as system:
        ref: Any = oracle(system)

        with pytest.raises(MessageTypeError, match=r"root/supervisor/oracle\.in_length takes str, not int"):
            await ref.ask(Oracle.in_length, 4)
        with pytest.raises(MessageTypeError, match=r"root/supervisor/oracle is a Oracle and has no port Selfish\.in_number"):
            await ref.ask(Selfish.in_number, None)

        assert system.ledger().accepted == 0
