"""A web site that is made up: what a crawler meets, without a network."""

from __future__ import annotations

from random import Random

from attrs import frozen

SECTIONS = ("news", "shop", "docs")
PAGES = 60
"""Pages of each section."""


@frozen
class Page:
    """One page of the site.

    Attributes:
        links: paths of other pages; some lead nowhere.
        latency: seconds that the server takes to answer.
        flaky: how often it fails before it answers.
    """

    links: tuple[str, ...]
    latency: float
    flaky: int = 0


def make_site(seed: int = 0) -> dict[str, Page]:
    """The pages of the site by their path: `/`, a site map for each section, and its pages, which link to each other."""
    rng = Random(seed)
    site = {"/": Page(tuple(f"/{section}/sitemap" for section in SECTIONS), 0.01)}
    for section in SECTIONS:
        paths = [f"/{section}/{number}" for number in range(PAGES)]
        site[f"/{section}/sitemap"] = Page(tuple(rng.sample(paths, 5)), 0.01)
        for path in paths:
            links = (*rng.sample(paths, 3), f"/{rng.choice(SECTIONS)}/{rng.randrange(PAGES)}", f"/{section}/lost-{rng.randrange(20)}")
            site[path] = Page(links, rng.uniform(0.005, 0.02), flaky=1 if rng.random() < 0.05 else 0)
    return site
