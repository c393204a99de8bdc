"""Kills pipelines for as long as it is asked to: `./dev soak --kills 1000 --seed 7`."""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import tempfile
import time
from pathlib import Path

from tests.durability.killing import Campaign


def main() -> None:
    """Kills, and says so."""
    parser = argparse.ArgumentParser(
        prog="./dev soak", description="Kills a durable pipeline at random moments, and checks what is left: nothing lost, nothing doubled."
    )
    parser.add_argument("--kills", type=int, default=1_000, help="how many; 1,000 take a few minutes")
    parser.add_argument("--seed", type=int, default=None, help="of the moments; by default another one each time, which is printed")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    logging.disable()  # of what the pipelines are told to do wrong
    folder, began = Path(tempfile.mkdtemp(prefix="actorkit-soak-")), time.monotonic()
    print(f"seed {seed}: {arguments.kills} kills, in {folder}", flush=True)
    campaign = Campaign(folder, seed)
    campaign.run(arguments.kills, lambda text: print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True))
    shutil.rmtree(folder)
    print(f"seed {seed}: {campaign.killed} kills and {campaign.stopped} stops, {campaign.done} pipelines: nothing lost, nothing doubled")


if __name__ == "__main__":
    main()
