"""After an unclean end: which message has killed the process, if one did.

What was in flight then is not known, only that it was among the first messages of its port: those are *suspects*. They
are handled one at a time in the whole system, each with a claim that is in the store before it is handled, and goes when
it has been. If the process dies meanwhile, the claim is still there. A message that was the only one claimed at three
deaths becomes a dead letter, CRASHED_PROCESS. So a process that is killed from outside blames nobody, unless three times over
one message.

One that takes its time does not hold up the others for long (it may wait for them): the next one is claimed beside it. If the
process then dies, nobody is to blame; at one of the next starts all others have been dealt with, and it is alone.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from actorkit._runtime.timers import Alarm
from actorkit.policy.recovery import DeadLetterReason
from actorkit.storage.messagepack import pack, unpack
from actorkit.storage.store import Changes

if TYPE_CHECKING:
    from actorkit._runtime.durable_mailbox import Durable
    from actorkit._runtime.journals import Journal
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.stepping import Stepping
    from actorkit._runtime.waits import Envelope
    from actorkit._runtime.writer import Writer
    from actorkit.storage.store import Key

CLAIM: Final = "claim"
"""The space of claims: by the message's space and number, at how many deaths it was claimed alone, and whether it is claimed now."""
DEATHS: Final = 3
"""At so many deaths a message was claimed that is to blame."""
SUSPECTS: Final = 128
"""The first so many messages of a port may have been in flight, as a step is no longer, but for what `commit_every` says."""

MOST: Final = 1_000_000
"""Claims are few: one at a time, and those that were left at deaths."""
PATIENCE: Final = 0.2
"""Seconds that the others wait for the one that is claimed."""


class Suspects:
    """Those of one system, and whose turn it is."""

    def __init__(self, kernel: Kernel) -> None:
        self.left = 0  # how many may still have to be claimed
        self._kernel = kernel
        self._deaths: dict[bytes, int] = {}  # by claim
        self._was_clean = True
        self._claimed: dict[Envelope, tuple[Stepping, Journal]] = {}
        self._awaited: Envelope | None = None  # the one that the others wait for: it is claimed, or is going to be
        self._alarm: Alarm | None = None
        self._waiting: deque[tuple[Stepping, Journal, Envelope]] = deque()

    async def read(self, writer: Writer) -> None:
        """Finds out what was claimed when the process died."""
        self._was_clean = writer.was_clean
        entries = await writer.call(partial(writer.store.scan, CLAIM, limit=MOST))
        claims = {key: unpack(body) for key, body in entries if isinstance(key, bytes) and isinstance(body, bytes)}
        if self._was_clean:
            changes = Changes(deletes=[(CLAIM, key) for key, _ in entries])
        else:
            claimed = [key for key, (_, is_claimed) in claims.items() if is_claimed]
            self._deaths = {key: deaths + (claimed == [key]) for key, (deaths, _) in claims.items()}
            changes = Changes([(CLAIM, key, pack([deaths, False])) for key, deaths in self._deaths.items()], drains=True)
        if changes:
            await writer.commit(changes)

    def look_at(self, mailbox: Durable, envelope: Envelope, place: int) -> bool:
        """A message has come out of the store, the so-manieth of its port; False: it is to blame, and has become a dead letter."""
        if self._was_clean:
            return True
        if self._deaths.get(_claim(mailbox.journal, envelope), 0) >= DEATHS:
            mailbox.dead_letter_arrival(envelope, DeadLetterReason.CRASHED_PROCESS)
            return False
        every = mailbox.settings.commit_every
        if place < (SUSPECTS if every is None else max(SUSPECTS, every[0])):
            envelope.is_suspect = True
            self.left += 1
        return True

    def entries_of(self, journal: Journal, envelope: Envelope) -> tuple[tuple[str, Key], ...]:
        """The claim on this message, which goes with it."""
        if not self._deaths and envelope not in self._claimed:
            return ()
        return ((CLAIM, _claim(journal, envelope)),)

    def is_claimed(self, envelope: Envelope) -> bool:
        """Whether it may be handled now."""
        return envelope in self._claimed

    def ask_turn(self, cell: Stepping, journal: Journal, envelope: Envelope) -> None:
        """This actor's next message is a suspect: settles the actor when it is claimed."""
        self._waiting.append((cell, journal, envelope))
        self._next()

    def _next(self) -> None:
        if self._awaited is None and self._waiting:
            cell, journal, envelope = self._waiting.popleft()
            self._awaited = envelope
            changes = self._noted(journal, envelope, is_claimed=True)
            self._kernel.writer.submit(changes, partial(self._claim_made, cell, journal, envelope))

    def _noted(self, journal: Journal, envelope: Envelope, *, is_claimed: bool) -> Changes:
        claim = _claim(journal, envelope)
        deaths = self._deaths.get(claim, 0)
        if is_claimed or deaths:  # it is small, and without it nothing is handled that would make room
            return Changes([(CLAIM, claim, pack([deaths, is_claimed]))], drains=True)
        return Changes(deletes=[(CLAIM, claim)])

    def _claim_made(self, cell: Stepping, journal: Journal, envelope: Envelope) -> None:
        self._claimed[envelope] = (cell, journal)
        self._alarm = Alarm(self._kernel.now() + PATIENCE, partial(self._wait_no_more_for, envelope))
        self._kernel.timers.add(self._alarm)
        if not cell.turn_has_come(envelope):
            self._let_go(envelope)

    def lets_go(self, cell: Stepping) -> None:
        """This actor handles no message for now: what it had claimed is claimed no more, but when its turn comes again."""
        for envelope in [each for each, (owner, _) in self._claimed.items() if owner is cell]:
            self._let_go(envelope)

    def _let_go(self, envelope: Envelope) -> None:
        _, journal = self._claimed.pop(envelope)
        self._kernel.writer.submit(self._noted(journal, envelope, is_claimed=False), partial(self._wait_no_more_for, envelope))

    def gives_back(self, journal: Journal, envelope: Envelope) -> None:
        """The handler of this message has ended, and not by a commit: the process has survived it."""
        self._kernel.writer.submit(Changes(deletes=self.entries_of(journal, envelope)))
        self.survived(envelope)

    def survived(self, envelope: Envelope) -> None:
        """It has been dealt with: the next one may be claimed."""
        envelope.is_suspect = False
        self.left -= 1
        self._claimed.pop(envelope, None)
        self._wait_no_more_for(envelope)

    def _wait_no_more_for(self, envelope: Envelope) -> None:
        if envelope is self._awaited:
            if self._alarm is not None:
                self._kernel.timers.remove(self._alarm)
            self._awaited = self._alarm = None
            self._next()


def _claim(journal: Journal, envelope: Envelope) -> bytes:
    claim: bytes = pack([journal.space, envelope.number])
    return claim
