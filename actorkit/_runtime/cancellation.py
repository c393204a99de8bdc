"""Tells a cancellation that is on its way from one that user code has kept beyond its scope."""

from __future__ import annotations

import trio

from actorkit.errors import ActorkitError


def split(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """The part of an error that is a cancellation, and the rest."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    return (error, None) if isinstance(error, trio.Cancelled) else (None, error)


def failure_in(error: BaseException, *scopes: trio.CancelScope) -> Exception | None:
    """The failure that user code has raised together with a cancellation, if none of the scopes around it was cancelled.

    Such a cancellation was kept, and raised again outside of its scope. Passed on, it would end the task, and in the end the
    system, without a word. None: the error is to go its way.
    """
    cancelled, rest = split(error)
    if cancelled is None or any(scope.cancel_called for scope in scopes):
        return None
    if rest is not None:
        return rest if isinstance(rest, Exception) else None
    failure = ActorkitError(
        "it raised a trio.Cancelled that it had kept; let Cancelled pass where it is raised, out of the scope it belongs to"
    )
    failure.__cause__ = cancelled
    return failure
