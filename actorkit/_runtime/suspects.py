"""After an unclean end: which message has killed the process, if one did.

What was in flight then is not known, only that it was among the first messages of its port: those are *suspects*. They
are handled one at a time in the whole system, each with a claim that is in the store before it is handled, and goes when
it has been. If the process dies meanwhile, the claim is still there. A message that was claimed at three deaths becomes
a dead letter, CRASHED_PROCESS. So a process that is killed from outside blames nobody, unless three times over one message.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

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
"""The space of claims: by the message's space and number, at how many deaths it was claimed."""
DEATHS: Final = 3
"""At so many deaths a message was claimed that is to blame."""
SUSPECTS: Final = 128
"""The first so many messages of a port may have been in flight, as a step is no longer, but for what `commit_every` says."""


class Suspects:
    """Those of one system, and whose turn it is."""

    def __init__(self, kernel: Kernel) -> None:
        self.left = 0  # how many may still have to be claimed
        self._kernel = kernel
        self._deaths: dict[bytes, int] = {}  # by claim
        self._was_clean = True
        self._at_work: Stepping | None = None
        self._claimed: Envelope | None = None
        self._waiting: deque[tuple[Stepping, Journal, Envelope]] = deque()

    async def read(self, writer: Writer) -> None:
        """Finds out what was claimed when the process died."""
        self._was_clean = writer.was_clean
        entries = await writer.call(writer.store.scan, CLAIM)
        claims = {key: unpack(body) for key, body in entries if isinstance(key, bytes) and isinstance(body, bytes)}
        if self._was_clean:
            changes = Changes(deletes=[(CLAIM, key) for key, _ in entries])
        else:
            self._deaths = {key: deaths + (len(claims) == 1) for key, deaths in claims.items()}
            changes = Changes([(CLAIM, key, pack(deaths)) for key, deaths in self._deaths.items()])
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
        if not self._deaths and envelope is not self._claimed:
            return ()
        return ((CLAIM, _claim(journal, envelope)),)

    def is_claimed(self, envelope: Envelope) -> bool:
        """Whether it may be handled now."""
        return envelope is self._claimed

    def ask_turn(self, cell: Stepping, journal: Journal, envelope: Envelope) -> None:
        """This actor's next message is a suspect: settles the actor when it is claimed."""
        self._waiting.append((cell, journal, envelope))
        self._next()

    def _next(self) -> None:
        if self._at_work is None and self._waiting:
            self._at_work, journal, envelope = self._waiting.popleft()
            claim = _claim(journal, envelope)
            changes = Changes([(CLAIM, claim, pack(self._deaths.get(claim, 0)))])
            self._kernel.writer.submit(changes, partial(self._claim_made, self._at_work, journal, envelope))

    def _claim_made(self, cell: Stepping, journal: Journal, envelope: Envelope) -> None:
        self._claimed = envelope
        if not cell.turn_has_come(envelope):
            changes = Changes(deletes=[(CLAIM, _claim(journal, envelope))])
            self._claimed = self._at_work = None
            self._kernel.writer.submit(changes, self._next)

    def gives_back(self, journal: Journal, envelope: Envelope) -> None:
        """The handler of this message has ended, by a failure: the process has survived it."""
        self._kernel.writer.submit(Changes(deletes=self.entries_of(journal, envelope)))
        self.survived(envelope)

    def survived(self, envelope: Envelope) -> None:
        """It has been dealt with: the next one may be claimed."""
        envelope.is_suspect = False
        self.left -= 1
        if envelope is self._claimed:
            self._claimed = self._at_work = None
            self._next()


def _claim(journal: Journal, envelope: Envelope) -> bytes:
    claim: bytes = pack([journal.space, envelope.number])
    return claim
