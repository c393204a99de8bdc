"""Ray actors: each is a process. Here all of them share one core, as everything else that is measured; that is not how Ray is meant."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import ray


class Sink:
    def __init__(self) -> None:
        self.received = 0

    def take(self, number: int) -> None:
        self.received += 1

    def add(self, number: int) -> int:
        return number + 1

    def how_many(self) -> int:
        return self.received


class Source:
    def go(self, sink: Any, count: int) -> float:
        began = time.perf_counter()
        for number in range(count):
            sink.take.remote(number)
        assert ray.get(sink.how_many.remote()) == count
        return time.perf_counter() - began

    def ask(self, sink: Any, count: int) -> float:
        answer = 0
        began = time.perf_counter()
        for _ in range(count):
            answer = ray.get(sink.add.remote(answer))
        assert answer == count
        return time.perf_counter() - began


def main(work: str, count: int) -> None:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    sink, source = ray.remote(Sink).remote(), ray.remote(Source).remote()
    ray.get(sink.how_many.remote())
    method = {"one-way": source.go, "ask": source.ask}[work]
    print(json.dumps({"seconds": ray.get(method.remote(sink, count))}), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
