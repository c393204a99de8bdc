"""The crawler fetches what is there, once, site maps first, and gives up what is not there or waits for too long."""

from __future__ import annotations

from trio.testing import MockClock

from actorkit import DeadLetterReason, open_system
from examples.crawler import tree
from examples.crawler.actors import Frontier


async def test_a_crawl_ends_by_itself_and_accounts_for_every_page(autojump_clock: MockClock) -> None:
    async with open_system(tree(), seed=1) as system:
        await system.wait()
        crawl = await system.ref(Frontier).ask(Frontier.in_report, None)
        ledger = system.ledger()
        letters = await system.dead_letters.inspect()

    ledger.check()
    fetched = sum(crawl.fetched.values())
    assert crawl.fetched[0] == 1
    assert crawl.fetched[1] == 3  # the site maps
    assert fetched > 50
    assert fetched + len(letters) == crawl.seen
    assert {letter.reason for letter in letters} <= {DeadLetterReason.PERMANENT, DeadLetterReason.EXPIRED}
    assert all("lost" in letter.message.path for letter in letters if letter.reason is DeadLetterReason.PERMANENT)
