"""The states of a cell, as the dispatcher sees it. It is in exactly one of them, and on the ready queue only in READY.

IDLE     nothing to do                         → READY by a message; CLOSED, HELD
READY    on the ready queue                    → RUNNING when the role comes to it
RUNNING  its step is being driven              → any of the others
PARKED   its coroutine waits for something of  → READY when that comes, or by a kill
         ours (an answer, room in a mailbox)
WAITING  its coroutine waits in trio, with a   → IDLE, READY, HELD, CLOSED when the message is done
         worker that stays with it
HELD     it emitted more than a port can hold  → READY or IDLE when that port is back within its capacity
COMMITTING  what it has done is being written to the store   → IDLE, READY, HELD or CLOSED when it is: see steps.py
CLOSED   not to be touched: not started, to be → IDLE or READY when it is opened
         retried or restarted, stopped
"""

from __future__ import annotations

from typing import Final

IDLE: Final = 0
READY: Final = 1
RUNNING: Final = 2
PARKED: Final = 3
WAITING: Final = 4
HELD: Final = 5
CLOSED: Final = 6
COMMITTING: Final = 7
