"""The PostgreSQL server that all tests of a session share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.storage.postgres_server import Server, running_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    with running_server() as server:
        yield server
