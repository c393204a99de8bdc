"""Addresses: how they are got, what they are equal to, and how long they last."""

from __future__ import annotations

from typing import Any

import pytest

from actorkit import (
    Actor,
    ActorRef,
    SpecTypeError,
    UnknownActor,
    child,
    dynamic_supervisor,
    in_port,
    open_system,
    supervisor,
)


class Worker(Actor):
    """Tells which life it is in."""

    def __init__(self, lives: list[int] | None = None) -> None:
        self.lives = [] if lives is None else lives
        self.lives.append(len(self.lives) + 1)

    @in_port
    def in_life(self, question: None) -> int:
        return self.lives[-1]

    @in_port
    def in_crash(self, message: str) -> None:
        raise RuntimeError(message)

    @in_port
    def in_ref(self, question: None) -> ActorRef[Any]:
        return self.ref


class Foreman(Worker):
    """A worker of a special kind."""


class Idler(Actor):
    """Does nothing."""


async def test_a_ref_stays_valid_across_restarts() -> None:
    async with open_system(supervisor(child(Worker, []))) as system:
        worker = system.ref(Worker)
        assert await worker.ask(Worker.in_life, None) == 1

        await worker.send(Worker.in_crash, "a bug")
        await system.settle()

        assert await worker.ask(Worker.in_life, None) > 1
        assert worker.is_alive
        assert worker == system.ref(Worker)


async def test_a_ref_stays_valid_when_its_actor_is_stopped_and_started_by_hand() -> None:
    async with open_system(supervisor(child(Worker, []))) as system:
        worker, boss = system.ref(Worker), system.supervisor("root/supervisor")

        await boss.stop_child("worker")
        alive_when_stopped = worker.is_alive
        await boss.restart_child("worker")

        assert (alive_when_stopped, worker.is_alive) == (False, True)
        assert await worker.ask(Worker.in_life, None) == 2


async def test_refs_of_one_actor_are_equal_and_of_two_are_not() -> None:
    tree = supervisor(child(Worker).options(name="a"), child(Worker).options(name="b"))
    async with open_system(tree) as system:
        a, b = (system.ref(f"root/supervisor/{name}", Worker) for name in "ab")

        assert a == system.ref("root/supervisor/a") == await a.ask(Worker.in_ref, None)
        assert a != b
        assert a not in ["root/supervisor/a", None]
        assert len({a, b, system.ref("root/supervisor/a"), await b.ask(Worker.in_ref, None)}) == 2


async def test_a_ref_knows_its_path_and_shows_it() -> None:
    async with open_system(supervisor(child(Worker), name="desk")) as system:
        worker = system.ref(Worker)

        assert worker.path == "root/desk/worker"
        assert repr(worker) == "<ActorRef root/desk/worker>"


async def test_a_ref_of_an_actor_that_has_ended_is_not_alive() -> None:
    async with open_system(supervisor(child(Worker), child(Idler))) as system:
        worker, boss = system.ref(Worker), system.supervisor("root/supervisor")

        await boss.stop_child("worker")
        await boss.delete_child("worker")

        assert not worker.is_alive
    assert not worker.is_alive


async def test_a_new_actor_under_an_old_name_is_another_actor() -> None:
    async with open_system(dynamic_supervisor()) as system:
        boss = system.supervisor("root/supervisor")
        spec = child(Worker).options(name="worker")
        old = await boss.start_child(spec)
        await boss.stop_child("worker")

        new = await boss.start_child(spec)

        assert (old.path, old.is_alive) == (new.path, False)
        assert old != new
        assert system.ref(Worker) == new


async def test_a_port_has_an_address_of_its_own() -> None:
    async with open_system(supervisor(child(Worker))) as system:
        worker = system.ref(Worker)
        port = worker.port(Worker.in_life)

        assert port.path == "root/supervisor/worker.in_life"
        assert repr(port) == "<PortRef root/supervisor/worker.in_life>"
        assert await port.ask(None) == 1
        assert port == worker.port(Worker.in_life)
        assert port != worker.port(Worker.in_crash)
        assert len({port, worker.port(Worker.in_life)}) == 1


async def test_an_actor_is_found_by_class_by_path_and_by_both() -> None:
    async with open_system(supervisor(supervisor(child(Worker), name="inner"), child(Idler), name="outer")) as system:
        by_class = system.ref(Worker)

        assert by_class == system.ref("root/outer/inner/worker") == system.ref("root/outer/inner/worker", Worker)


async def test_a_base_class_finds_the_only_actor_of_a_subclass() -> None:
    async with open_system(supervisor(child(Foreman))) as system:
        assert system.ref(Worker).path == "root/supervisor/foreman"
        assert system.ref("root/supervisor/foreman", Worker) == system.ref(Foreman)


async def test_a_class_finds_its_own_actor_rather_than_one_of_a_subclass() -> None:
    async with open_system(supervisor(child(Foreman), child(Worker))) as system:
        assert system.ref(Worker).path == "root/supervisor/worker"


async def test_a_class_with_several_actors_lists_them() -> None:
    tree = supervisor(child(Worker).options(name="a"), child(Worker).options(name="b"))
    async with open_system(tree) as system:
        with pytest.raises(UnknownActor) as caught:
            system.ref(Worker)

        assert str(caught.value) == (
            "there is more than one Worker in this system: root/supervisor/a, root/supervisor/b; name one by its path"
        )


async def test_a_class_without_an_actor_lists_those_there_are() -> None:
    async with open_system(supervisor(child(Idler))) as system:
        with pytest.raises(UnknownActor) as caught:
            system.ref(Worker)

        assert str(caught.value) == "there is no Worker in this system: there are: root/supervisor/idler"


async def test_an_unknown_path_lists_the_nearest_first() -> None:
    async with open_system(supervisor(child(Idler), child(Worker))) as system:
        with pytest.raises(UnknownActor) as caught:
            system.ref("root/supervisor/wroker")

        assert str(caught.value) == ("there is no actor 'root/supervisor/wroker'; there are: root/supervisor/worker, root/supervisor/idler")


async def test_a_path_of_another_class_is_refused() -> None:
    async with open_system(supervisor(child(Idler))) as system:
        with pytest.raises(UnknownActor, match="root/supervisor/idler is a Idler, not a Worker"):
            system.ref("root/supervisor/idler", Worker)


@pytest.mark.parametrize("thing", [3, None, Worker.in_life, child(Worker)])
async def test_what_is_neither_class_nor_path_is_refused(thing: Any) -> None:
    async with open_system(supervisor(child(Worker))) as system:
        with pytest.raises(SpecTypeError, match=r"system\.ref: actor = .*: expected an actor class, or a path"):
            system.ref(thing)


async def test_an_unknown_supervisor_lists_those_there_are() -> None:
    async with open_system(supervisor(child(Worker), name="desk")) as system:
        with pytest.raises(UnknownActor, match="there is no supervisor 'root/dest'; there are: root/desk, root"):
            system.supervisor("root/dest")
