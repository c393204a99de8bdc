"""The checks of settings: what passes, and the one sentence that anything else gets."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy.checks import (
    check_choice,
    check_count,
    check_exception_type,
    check_flag,
    check_seconds,
    check_shutdown,
    check_significant,
    check_type,
)
from actorkit.policy.restart import AutoShutdown, Restart, Shutdown

OWNER = "child 'billing'"


def refused(error: type[Exception], check: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(error) as caught:
        check(*arguments, **options)
    assert type(caught.value) is error
    return str(caught.value)


def test_a_choice_is_a_member_of_its_enum() -> None:
    assert check_choice(OWNER, "restart", Restart.TEMPORARY, Restart) is Restart.TEMPORARY
    text = "child 'billing': restart = 'permanent': expected Restart.PERMANENT, Restart.TRANSIENT or Restart.TEMPORARY"
    assert refused(SpecTypeError, check_choice, OWNER, "restart", "permanent", Restart) == text
    refused(SpecTypeError, check_choice, OWNER, "restart", Shutdown.KILL, Restart)


def test_a_count_is_a_whole_number_from_its_minimum_on() -> None:
    assert check_count(OWNER, "max_restarts", 0) == 0
    assert check_count(OWNER, "size", 1, 1) == 1
    assert refused(SpecError, check_count, OWNER, "size", 0, 1) == "child 'billing': size = 0: expected a whole number, 1 or more"
    for value in (1.0, "1", None, True):
        refused(SpecTypeError, check_count, OWNER, "size", value)


def test_seconds_are_numbers_in_their_range() -> None:
    assert check_seconds(OWNER, "within", 5) == 5.0
    assert isinstance(check_seconds(OWNER, "within", 5), float)
    assert check_seconds(OWNER, "within", 0) == 0.0
    assert check_seconds(OWNER, "within", math.inf, infinite=True) == math.inf
    text = "child 'billing': within = 0: expected seconds, more than 0"
    assert refused(SpecError, check_seconds, OWNER, "within", 0, positive=True) == text
    text = "child 'billing': poll = 0.1: expected seconds, 0.5 or more"
    assert refused(SpecError, check_seconds, OWNER, "poll", 0.1, minimum=0.5) == text
    for value in (math.nan, math.inf, -math.inf, 10**400, -(10**400)):
        refused(SpecError, check_seconds, OWNER, "within", value)
    for wrong in ("5", None, True, 5j):
        refused(SpecTypeError, check_seconds, OWNER, "within", wrong)


@settings(deadline=None)  # a busy machine is no failure
@given(st.floats())
def test_seconds_are_finite_and_never_negative(value: float) -> None:
    try:
        assert 0 <= check_seconds(OWNER, "within", value) < math.inf
    except SpecError:
        assert not 0 <= value < math.inf


def test_a_shutdown_is_seconds_or_one_of_two_words() -> None:
    for value in (0, 5.5, Shutdown.KILL, Shutdown.INFINITY):
        assert check_shutdown(OWNER, value) == value
    text = "child 'billing': shutdown = -1: expected seconds, 0 or more, Shutdown.KILL or Shutdown.INFINITY"
    assert refused(SpecError, check_shutdown, OWNER, -1) == text
    for value in (math.nan, math.inf):
        refused(SpecError, check_shutdown, OWNER, value)
    for wrong in ("5", None, False, Restart.PERMANENT):
        refused(SpecTypeError, check_shutdown, OWNER, wrong)


def test_only_a_child_that_may_end_can_be_significant_and_only_where_it_matters() -> None:
    for restart in (Restart.TRANSIENT, Restart.TEMPORARY):
        for setting in (AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT):
            assert check_significant(OWNER, True, restart, setting) is True
    for restart in Restart:
        for setting in AutoShutdown:
            assert check_significant(OWNER, False, restart, setting) is False
    text = refused(SpecError, check_significant, OWNER, True, Restart.PERMANENT, AutoShutdown.ANY_SIGNIFICANT)
    assert text.startswith("child 'billing': significant = True: expected restart to be Restart.TRANSIENT or Restart.TEMPORARY")
    text = refused(SpecError, check_significant, OWNER, True, Restart.TRANSIENT, AutoShutdown.NEVER)
    assert "auto_shutdown to be AutoShutdown.ANY_SIGNIFICANT or AutoShutdown.ALL_SIGNIFICANT" in text
    refused(SpecTypeError, check_significant, OWNER, 1, Restart.TRANSIENT, AutoShutdown.ANY_SIGNIFICANT)


def test_types_flags_and_exception_types_are_checked_alike() -> None:
    assert check_type(OWNER, "name", "x", str, "a name") == "x"
    assert refused(SpecTypeError, check_type, OWNER, "name", 1, str, "a name") == "child 'billing': name = 1: expected a name"
    assert check_flag(OWNER, "keep", False) is False
    assert refused(SpecTypeError, check_flag, OWNER, "keep", 0) == "child 'billing': keep = 0: expected True or False"
    assert check_exception_type(OWNER, "on", KeyError, "an exception type") is KeyError
    for value in (KeyError(), int, "KeyError"):
        refused(SpecTypeError, check_exception_type, OWNER, "on", value, "an exception type")


def test_a_value_is_shown_short_and_one_that_cannot_be_shown_does_no_harm() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    assert len(refused(SpecTypeError, check_count, OWNER, "size", "x" * 10_000)) < 200
    assert "<Mute instance at " in refused(SpecTypeError, check_count, OWNER, "size", Mute())


def test_complaints_are_value_errors_and_wrong_types_are_type_errors_too() -> None:
    with pytest.raises(ValueError, match="size"):
        check_count(OWNER, "size", -1)
    with pytest.raises(TypeError, match="size"):
        check_count(OWNER, "size", "1")
