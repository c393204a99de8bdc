"""An evening in a chat: rooms are topics, and people come, join, leave and go while it runs."""

from examples.chat.evening import tree

__all__ = ["tree"]
