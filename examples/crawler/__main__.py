"""Crawls the site, and says what was found: `python -m examples.crawler`."""

from __future__ import annotations

import trio

from actorkit import open_system
from examples.crawler import tree
from examples.crawler.actors import Frontier


async def main() -> None:
    """Crawls until nothing is left to fetch."""
    async with open_system(tree()) as system:
        await system.wait()
        crawl = await system.ref(Frontier).ask(Frontier.in_report, None)
        given_up = system.ledger().dead_lettered_by
        print(f"{crawl.seen} pages seen, {sum(crawl.fetched.values())} fetched:")
        for depth, count in sorted(crawl.fetched.items()):
            print(f"  {count:4} at {depth} links from the start")
        print(f"not there: {given_up.get('permanent', 0)}, waited too long: {given_up.get('expired', 0)}")


if __name__ == "__main__":
    trio.run(main)
