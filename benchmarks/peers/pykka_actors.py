"""Pykka: each actor is a thread, its inbox a queue without bounds. `tell` and `ask` of a class with `on_receive` are its fastest way."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import pykka


class Sink(pykka.ThreadingActor):
    """Counts, and says when it has all."""

    def __init__(self, wanted: int, done: threading.Event) -> None:
        super().__init__()
        self.left = wanted
        self.done = done

    def on_receive(self, message: Any) -> None:
        self.left -= 1
        if not self.left:
            self.done.set()


class Stage(pykka.ThreadingActor):
    def __init__(self, target: pykka.ActorRef[Any]) -> None:
        super().__init__()
        self.target = target

    def on_receive(self, message: Any) -> None:
        self.target.tell(message)


class Source(pykka.ThreadingActor):
    """Sends so many numbers to all of its targets."""

    def __init__(self, targets: list[pykka.ActorRef[Any]]) -> None:
        super().__init__()
        self.targets = targets

    def on_receive(self, message: int) -> None:
        for number in range(message):
            for target in self.targets:
                target.tell(number)


class Server(pykka.ThreadingActor):
    def on_receive(self, message: int) -> int:
        return message + 1


class Client(pykka.ThreadingActor):
    def __init__(self, server: pykka.ActorRef[Any]) -> None:
        super().__init__()
        self.server = server

    def on_receive(self, message: int) -> float:
        answer = 0
        began = time.perf_counter()
        for _ in range(message):
            answer = self.server.ask(answer)
        took = time.perf_counter() - began
        assert answer == message
        return took


class Player(pykka.ThreadingActor):
    """Returns a ball, or hands a token on, until nothing is left."""

    next: pykka.ActorRef[Any]

    def __init__(self, done: threading.Event) -> None:
        super().__init__()
        self.done = done

    def on_receive(self, message: Any) -> None:
        if isinstance(message, pykka.ActorRef):
            self.next = message
        elif message:
            self.next.tell(message - 1)
        else:
            self.done.set()


def _timed(sources: list[pykka.ActorRef[Any]], each: int, done: list[threading.Event]) -> float:
    began = time.perf_counter()
    for source in sources:
        source.tell(each)
    for event in done:
        event.wait()
    return time.perf_counter() - began


def one_way(count: int) -> float:
    done = threading.Event()
    return _timed([Source.start([Sink.start(count, done)])], count, [done])


def fan_in(count: int) -> float:
    done = threading.Event()
    sink = Sink.start(count // 10 * 10, done)
    return _timed([Source.start([sink]) for _ in range(10)], count // 10, [done])


def fan_out(count: int) -> float:
    done = [threading.Event() for _ in range(10)]
    return _timed([Source.start([Sink.start(count // 10, event) for event in done])], count // 10, done)


def pipeline(count: int) -> float:
    done = threading.Event()
    target = Sink.start(count, done)
    for _ in range(4):
        target = Stage.start(target)
    return _timed([Source.start([target])], count, [done])


def ask(count: int) -> float:
    took: float = Client.start(Server.start()).ask(count)
    return took


def _around(players: int, hops: int) -> float:
    done = threading.Event()
    refs = [Player.start(done) for _ in range(players)]
    for one, other in zip(refs, refs[1:] + refs[:1], strict=True):
        one.tell(other)
    time_to_settle = refs[-1].ask(refs[0])
    assert time_to_settle is None
    return _timed(refs[:1], hops, [done])


def ping_pong(count: int) -> float:
    return _around(2, 2 * count)


def ring(count: int) -> float:
    return _around(1000, count)


WORK = {"one-way": one_way, "ask": ask, "ping-pong": ping_pong, "pipeline": pipeline, "fan-in": fan_in, "fan-out": fan_out, "ring": ring}

if __name__ == "__main__":
    print(json.dumps({"seconds": WORK[sys.argv[1]](int(sys.argv[2]))}), flush=True)
    pykka.ActorRegistry.stop_all(block=False)
