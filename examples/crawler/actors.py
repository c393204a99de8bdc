"""The frontier knows what has been seen; a pool of fetchers fetches. The two are a cycle, and the run ends when nothing is left."""

from __future__ import annotations

import trio
from attrs import field, frozen

from actorkit import Actor, OutPort, PermanentError, SupervisorSpec, TransientError, child, in_port, least_loaded, pool, supervisor
from examples.crawler.site import Page, make_site

FETCHERS = 4
PATIENCE = 0.3
"""Seconds that a page may wait to be fetched."""


@frozen
class Link:
    """A page to fetch, and how many links away from the start it was found."""

    path: str
    depth: int


@frozen
class Fetched:
    """A page that was fetched, and where it leads."""

    link: Link
    links: tuple[str, ...]


@frozen
class Crawl:
    """What a crawl has found: how many pages were seen, and how many fetched at each depth."""

    seen: int
    fetched: dict[int, int] = field(factory=dict[int, int])


class Fetcher(Actor):
    """Fetches pages, site maps first. A page that has waited for too long is not worth it any more."""

    out_fetched = OutPort(Fetched)

    def __init__(self, site: dict[str, Page]) -> None:
        self.site = site
        self.failed: set[str] = set()

    @in_port(priority=1)
    async def in_map(self, link: Link) -> None:
        await self.fetch(link)

    @in_port(deadline=PATIENCE, capacity=64)
    async def in_page(self, link: Link) -> None:
        await self.fetch(link)

    async def fetch(self, link: Link) -> None:
        page = self.site.get(link.path)
        if page is None:
            raise PermanentError(f"404: {link.path}")
        await trio.sleep(page.latency)
        if page.flaky and link.path not in self.failed:
            self.failed.add(link.path)
            raise TransientError(f"503: {link.path}")
        await self.out_fetched.send(Fetched(link, page.links))


class Frontier(Actor):
    """Knows which pages have been seen, and hands out those that have not."""

    out_map = OutPort(Link)
    out_page = OutPort(Link)

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.fetched: dict[int, int] = {}

    async def run(self) -> None:
        await self.hand_out("/", 0)

    @in_port
    async def in_fetched(self, fetched: Fetched) -> None:
        depth = fetched.link.depth
        self.fetched[depth] = self.fetched.get(depth, 0) + 1
        for path in fetched.links:
            await self.hand_out(path, depth + 1)

    @in_port
    def in_report(self, _: None) -> Crawl:
        return Crawl(len(self.seen), dict(self.fetched))

    async def hand_out(self, path: str, depth: int) -> None:
        if path not in self.seen:
            self.seen.add(path)
            out = self.out_map if path.endswith("sitemap") else self.out_page
            # Never waits: in a cycle, a frontier that waits for fetchers that wait for the frontier would not get on.
            out.emit(Link(path, depth))


def tree() -> SupervisorSpec:
    """The crawler of a site of its own."""
    fetchers = pool(Fetcher, make_site(), size=FETCHERS, route=least_loaded)
    return supervisor(
        child(Frontier),
        fetchers,
        wires=[
            Frontier.out_map >> Fetcher.in_map,
            Frontier.out_page >> Fetcher.in_page,
            Fetcher.out_fetched >> Frontier.in_fetched,
        ],
        name="crawler",
    )
