"""A breaker with a key: one breaker for each host, tenant or whatever the key is."""

from __future__ import annotations

import pytest

from actorkit import CircuitBreaker, CircuitOpenError, CircuitState


async def fails() -> None:
    raise ConnectionError("down")


async def works() -> str:
    return "fine"


async def open_for(breaker: CircuitBreaker, key: object) -> None:
    with pytest.raises(ConnectionError):
        await breaker.for_key(key).call(fails)


async def test_each_key_has_a_breaker_of_its_own() -> None:
    breaker = CircuitBreaker(failure_threshold=1, name="hosts")

    await open_for(breaker, "a.example")

    with pytest.raises(CircuitOpenError, match=r"hosts for 'a\.example' is open"):
        await breaker.for_key("a.example").call(works)
    assert await breaker.for_key("b.example").call(works) == "fine"
    assert await breaker.call(works) == "fine"
    assert breaker.for_key("a.example").settings == breaker.settings


async def test_keys_not_used_for_long_are_forgotten_unless_their_breaker_is_open() -> None:
    breaker = CircuitBreaker(failure_threshold=1)
    await open_for(breaker, "open")
    closed = breaker.for_key("closed")
    used = breaker.for_key("used")

    for number in range(2_000):
        breaker.for_key(number)
        assert breaker.for_key("used") is used

    assert breaker.for_key("open").state is CircuitState.OPEN
    assert breaker.for_key("closed") is not closed
