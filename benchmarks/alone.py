"""Measures one candidate once, in this process, and prints its figures as JSON: `python -m benchmarks.alone WORKLOAD CANDIDATE COUNT`."""

from __future__ import annotations

import json
import logging
import sys

from benchmarks.workloads import BY_NAME


def main() -> None:
    """Measures, and prints."""
    name, candidate, count = sys.argv[1:]
    logging.disable(logging.CRITICAL)  # the terminal's speed is not the question; events and dead letters are made all the same
    print(json.dumps(BY_NAME[name].measure(candidate, int(count))))


if __name__ == "__main__":
    main()
