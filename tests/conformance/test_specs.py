"""Trees are values: what is wrong with one is refused before anything starts."""

from __future__ import annotations

import math
from typing import Any

import pytest

from actorkit import Actor, Restart, Shutdown, SpecError, SpecTypeError, Strategy, child, dynamic_supervisor, open_system, supervisor
from tests.trees import Scene, Worker, worker


def test_the_same_spec_twice_in_one_tree_is_refused() -> None:
    spec = worker(Scene(), "a")

    with pytest.raises(SpecError, match="supervisor 'top' has the same spec twice, child 'a'"):
        supervisor(spec, spec, name="top")
    with pytest.raises(SpecError, match="supervisor 'top' has the same spec twice, child 'a'"):
        supervisor(spec, supervisor(spec, name="inner"), name="top")


def test_a_spec_may_be_used_again_in_another_tree_and_with_other_options() -> None:
    spec = worker(Scene(), "a")

    trees = supervisor(spec, spec.options(name="b"), name="one"), supervisor(spec, name="two")

    assert [len(tree.children) for tree in trees] == [2, 1]


def test_options_make_a_new_spec_and_leave_the_old_one_alone() -> None:
    spec = child(Worker, Scene())

    changed = spec.options(name="b", restart=Restart.PERMANENT, shutdown=Shutdown.KILL)

    assert (spec.name, spec.restart, spec.shutdown) == ("worker", Restart.TRANSIENT, 5.0)
    assert (changed.name, changed.restart, changed.shutdown) == ("b", Restart.PERMANENT, Shutdown.KILL)


def test_two_children_of_one_name_are_refused() -> None:
    scene = Scene()

    with pytest.raises(SpecError, match="supervisor 'top' has two children named 'worker': give one another name"):
        supervisor(child(Worker, scene), child(Worker, scene), name="top")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shutdown": -1}, "shutdown = -1: expected seconds, 0 or more, Shutdown.KILL or Shutdown.INFINITY"),
        ({"shutdown": math.inf}, "shutdown = inf"),
        ({"start_timeout": 0}, "start_timeout = 0: expected seconds, more than 0"),
        ({"max_restarts": -1, "within": 5.0}, "max_restarts = -1: expected a whole number, 0 or more"),
        ({"max_restarts": 1, "within": 0}, "within = 0: expected seconds, more than 0"),
        ({"max_restarts": 1}, "max_restarts and within go together"),
        ({"name": ""}, "name = ''"),
        ({"name": "a/b"}, "name = 'a/b'"),
        ({"name": "a.b"}, "name = 'a.b'"),
    ],
)
def test_a_value_out_of_range_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        child(Worker, Scene()).options(**options)

    assert text in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"restart": "permanent"}, "restart = 'permanent': expected Restart.PERMANENT, Restart.TRANSIENT or Restart.TEMPORARY"),
        ({"shutdown": "5"}, "shutdown = '5'"),
        ({"significant": 1}, "significant = 1: expected True or False"),
        ({"backoff": 5.0}, "backoff = 5.0"),
        ({"recovery": "retry"}, "recovery = 'retry'"),
        ({"name": 5}, "name = 5"),
        ({"silly": True}, "unknown option 'silly': expected one of name, restart, shutdown"),
    ],
)
def test_a_value_of_the_wrong_type_and_an_unknown_option_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecTypeError) as caught:
        child(Worker, Scene()).options(**options)

    assert text in str(caught.value)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_restarts": -1}, "max_restarts = -1"),
        ({"within": 0.0}, "within = 0.0"),
        ({"within": math.nan}, "within = nan"),
        ({"strategy": "one_for_all"}, "strategy = 'one_for_all'"),
        ({"auto_shutdown": True}, "auto_shutdown = True"),
        ({"name": "a/b"}, "name = 'a/b'"),
        ({"wires": ["x"]}, "wires has 'x'"),
    ],
)
def test_a_bad_value_of_a_supervisor_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        supervisor(worker(Scene(), "a"), **options)

    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [({"max_children": 0}, "max_children = 0: expected a whole number, 1 or more"), ({"max_restarts": None}, "max_restarts = None")],
)
def test_a_bad_value_of_a_dynamic_supervisor_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        dynamic_supervisor(**options)

    assert text in str(caught.value)


def test_what_is_no_spec_is_no_child_of_a_supervisor() -> None:
    wrong: Any = Worker

    with pytest.raises(SpecTypeError, match="is not a child: expected child"):
        supervisor(wrong)


def test_arguments_that_the_constructor_does_not_take_are_refused() -> None:
    wrong: Any = child

    with pytest.raises(SpecError, match=r"child 'worker': Worker\(scene: 'Scene'\) can't be made with these arguments: missing"):
        wrong(Worker)


def test_what_is_no_actor_class_is_refused() -> None:
    wrong: Any = child

    for what in (dict, Actor, Worker(Scene()), "Worker"):
        with pytest.raises(SpecTypeError, match="expected a subclass of Actor"):
            wrong(what)


async def test_what_is_no_tree_is_refused() -> None:
    wrong: Any = Worker

    with pytest.raises(SpecTypeError, match="a tree is made by supervisor"):
        async with open_system(wrong):
            raise AssertionError("the block is not entered")


async def test_a_single_child_is_a_tree() -> None:
    scene = Scene()
    async with open_system(worker(scene, "a")) as system:
        await system.ref(Worker).send(Worker.in_note, "hello")

    assert scene.take() == ["start a", "did a: hello", "stop a"]


def test_every_strategy_is_accepted() -> None:
    assert [supervisor(strategy=strategy).strategy for strategy in Strategy] == list(Strategy)
