"""An actor's own log: the standard library's, with the actor's path and fields of the caller's."""

from __future__ import annotations

import logging
from typing import Any

LOGGER = logging.getLogger("actorkit.actors")


class ActorLog:
    """`self.log`: `self.log.info("landed", flight=17)` logs `root/tower/radar: landed flight=17`.

    The record also carries `actor` (the path), `incarnation` and `fields` (a dict), for structured handlers.
    """

    __slots__ = ("_incarnation", "_path")

    def __init__(self, path: str, incarnation: int) -> None:
        self._path = path
        self._incarnation = incarnation

    def debug(self, text: str, /, **fields: object) -> None:
        """Logs at DEBUG."""
        self._log(logging.DEBUG, text, fields)

    def info(self, text: str, /, **fields: object) -> None:
        """Logs at INFO."""
        self._log(logging.INFO, text, fields)

    def warning(self, text: str, /, **fields: object) -> None:
        """Logs at WARNING."""
        self._log(logging.WARNING, text, fields)

    def error(self, text: str, /, **fields: object) -> None:
        """Logs at ERROR."""
        self._log(logging.ERROR, text, fields)

    def exception(self, text: str, /, **fields: object) -> None:
        """Logs at ERROR, with the traceback of the exception being handled."""
        self._log(logging.ERROR, text, fields, exc_info=True)

    def _log(self, level: int, text: str, fields: dict[str, Any], *, exc_info: bool = False) -> None:
        if LOGGER.isEnabledFor(level):
            line = " ".join([f"{self._path}: {text}", *(f"{key}={value!r}" for key, value in fields.items())])
            extra = {"actor": self._path, "incarnation": self._incarnation, "fields": fields}
            LOGGER.log(level, "%s", line, exc_info=exc_info, extra=extra)
