"""What a full port does with the next message."""

from __future__ import annotations

from enum import Enum


class OverflowStrategy(Enum):
    """What a port does with a message that it has no room for. Messages that are always admitted are never its prey."""

    BLOCK = "block"
    """Its sender waits for room; with a `block_timeout` only so long, then the message becomes a dead letter."""
    DROP_OLDEST = "drop_oldest"
    """The oldest message in the port is dropped, and counted, to make room."""
    DROP_NEWEST = "drop_newest"
    """The message becomes a dead letter."""
    SPILL_TO_DISK = "spill_to_disk"
    """It waits on disk, in its order, until there is room."""
