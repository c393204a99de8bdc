"""Thespian on its simpleSystemBase, which runs all actors in the calling thread; its other systems use a process for each actor.

`tell` and `ask` of the actor system hand one message in and run until all is quiet. So work begins with one message from outside.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from thespian.actors import Actor, ActorSystem


class Sink(Actor):
    """Counts; answers with what it has when it is asked."""

    received = 0

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if message == "how many":
            self.send(sender, self.received)
        elif isinstance(message, int):
            self.received += 1


class Next(Actor):
    """Told ("next", addresses) first; then sends on what it gets."""

    targets: tuple[Any, ...] = ()

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if isinstance(message, tuple) and message[0] == "next":
            self.targets = message[1:]
        elif isinstance(message, tuple):
            self.begin(*message)
        elif isinstance(message, int):
            self.go_on(message)

    def begin(self, _: str, count: int) -> None:
        for number in range(count):
            for target in self.targets:
                self.send(target, number)

    def go_on(self, number: int) -> None:
        self.send(self.targets[0], number)


class Player(Next):
    def go_on(self, number: int) -> None:
        if number:
            self.send(self.targets[0], number - 1)


class Server(Actor):
    def receiveMessage(self, message: Any, sender: Any) -> None:
        if isinstance(message, int):
            self.send(sender, message + 1)


def _timed(system: ActorSystem, sources: list[Any], message: Any, sinks: list[Any], wanted: int) -> float:
    began = time.perf_counter()
    for source in sources:
        system.tell(source, message)
    received = sum(system.ask(sink, "how many", 60) for sink in sinks)
    assert received == wanted, received
    return time.perf_counter() - began


def _source(system: ActorSystem, *targets: Any) -> Any:
    source = system.createActor(Next)
    system.tell(source, ("next", *targets))
    return source


def one_way(system: ActorSystem, count: int) -> float:
    sink = system.createActor(Sink)
    return _timed(system, [_source(system, sink)], ("go", count), [sink], count)


def fan_in(system: ActorSystem, count: int) -> float:
    sink = system.createActor(Sink)
    return _timed(system, [_source(system, sink) for _ in range(10)], ("go", count // 10), [sink], count // 10 * 10)


def fan_out(system: ActorSystem, count: int) -> float:
    sinks = [system.createActor(Sink) for _ in range(10)]
    return _timed(system, [_source(system, *sinks)], ("go", count // 10), sinks, count // 10 * 10)


def pipeline(system: ActorSystem, count: int) -> float:
    sink = target = system.createActor(Sink)
    for _ in range(5):
        target = _source(system, target)
    return _timed(system, [target], ("go", count), [sink], count)


def ask(system: ActorSystem, count: int) -> float:
    """From outside: an actor cannot wait for an answer."""
    server = system.createActor(Server)
    answer = 0
    began = time.perf_counter()
    for _ in range(count):
        answer = system.ask(server, answer, 60)
    took = time.perf_counter() - began
    assert answer == count
    return took


def _around(system: ActorSystem, players: int, hops: int) -> float:
    refs = [system.createActor(Player) for _ in range(players)]
    for one, other in zip(refs, refs[1:] + refs[:1], strict=True):
        system.tell(one, ("next", other))
    began = time.perf_counter()
    system.tell(refs[0], hops)
    return time.perf_counter() - began


def ping_pong(system: ActorSystem, count: int) -> float:
    return _around(system, 2, 2 * count)


def ring(system: ActorSystem, count: int) -> float:
    return _around(system, 1000, count)


WORK = {"one-way": one_way, "ask": ask, "ping-pong": ping_pong, "pipeline": pipeline, "fan-in": fan_in, "fan-out": fan_out, "ring": ring}

if __name__ == "__main__":
    simple = ActorSystem("simpleSystemBase")
    print(json.dumps({"seconds": WORK[sys.argv[1]](simple, int(sys.argv[2]))}), flush=True)
    simple.shutdown()
