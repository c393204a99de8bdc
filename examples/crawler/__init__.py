"""A crawler: a pool of fetchers, site maps before pages, and pages that wait too long given up. `python -m examples.crawler`."""

from examples.crawler.actors import tree

__all__ = ["tree"]
