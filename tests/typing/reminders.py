"""What the type checkers accept and reject around reminders. Checked, not run."""

from __future__ import annotations

from typing import assert_type

from actorkit import Actor, in_port
from tests.typing.greeting import Printer


class Clerk(Actor):
    """Is reminded."""

    @in_port
    def in_call(self, name: str) -> None:
        assert_type(self.remind("call", 60, Clerk.in_call, "ada"), None)
        self.remind("call", 60.0, Clerk.in_call, name, repeat=True)
        assert_type(self.cancel_reminder("call"), bool)
        self.remind("call", 60, Clerk.in_call, 3)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
        self.remind("call", 60, Printer.in_line, "ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.remind(60, "call", Clerk.in_call, "ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.cancel_reminder(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
