"""Consistent cuts: the states, messages and timers of all actors at one moment, as bytes, and back.

Each actor is an entry in the space `"cut <number>"`, the array `[path, is_up, is_drained, run_is_over, state, messages,
requests, timers]`. The space `"cut"` has an entry for each cut, `[FORMAT, taken_at, actors, messages]`.
"""

from __future__ import annotations

from collections import Counter, deque
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

from actorkit._runtime.batches import BatchCell
from actorkit._runtime.broadcast import Copy
from actorkit._runtime.kept_states import pack_state, unpack_state
from actorkit._runtime.pauses import let_all_in
from actorkit._runtime.port_codecs import codec_of
from actorkit._runtime.restoring import call
from actorkit._runtime.timers import content_of
from actorkit._runtime.waits import Envelope
from actorkit.errors import CheckpointError, DecodingError, EncodingError
from actorkit.storage.codec import Codec
from actorkit.storage.messagepack import packer, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.mailbox import Mailbox

FORMAT: Final = 1
REPLACED: Final = "replaced"
"""Why a message was dropped that was queued when its actor was put back to a cut."""

_pack = packer().pack


@frozen
class Cut:
    """The states and messages of a whole system, as they were at one moment.

    Attributes:
        id: its number, counted up from 1.
        taken_at: when, in UTC.
        actors: how many actors it has.
        messages: how many messages were queued.
    """

    id: int
    taken_at: datetime
    actors: int
    messages: int


@define
class ActorInCut:
    """What a cut has of one actor.

    Attributes:
        path: which actor.
        is_up: whether it was running.
        is_drained: whether its streams had ended.
        run_is_over: whether its `run` had returned.
        state: what `snapshot` returned, and its version; None: it has none.
        messages: what was queued, in order, by port.
        requests: how many of it were asks, by port: their askers don't wait any more.
        timers: what was to come: port, seconds that are left, message.
    """

    path: str
    is_up: bool
    is_drained: bool
    run_is_over: bool
    state: tuple[object, int] | None
    messages: list[tuple[str, Any]] = field(factory=list[tuple[str, Any]])
    requests: Counter[str] = field(factory=Counter[str])
    timers: list[tuple[str, float, Any]] = field(factory=list[tuple[str, float, Any]])


class CutForm:
    """How what a cut has of an actor is written, and read."""

    def __init__(self) -> None:
        self._codecs: dict[tuple[type, str], Codec] = {}

    def write(self, cell: Cell) -> tuple[bytes, int]:
        """One actor as it is now, between two messages, and how many messages it has.

        Raises:
            CheckpointError: it has a message or a state that can't be kept; the text names port and class.
        """
        life, requests = cell.life, Counter[str]()
        messages: list[tuple[str, bytes]] = []
        for mailbox, item in mail_of(cell):
            if type(item) is Envelope and item.is_ask:
                requests[mailbox.name] += 1
            else:
                messages.append((mailbox.name, self._encoded(mailbox, item.message if type(item) is Envelope else item)))
        is_up, is_over = life is not None, life is None or life.run_is_over
        state = None if life is None else _state_of(life)
        timers = [] if life is None else self._timers_of(life)
        return _pack([cell.path, is_up, cell.drained, is_over, state, messages, dict(requests), timers]), len(messages)

    def _timers_of(self, life: Incarnation) -> list[tuple[str, float, bytes]]:
        now, timers = life.cell.kernel.now(), [timer for timer in life.timers or () if timer.period is None]
        contents = [(timer.deadline - now, *content_of(timer)) for timer in timers]
        return [(mailbox.name, max(0.0, left), self._encoded(mailbox, message)) for left, mailbox, message in contents]

    def _encoded(self, mailbox: Mailbox, message: object) -> bytes:
        try:
            return self._codec(mailbox).encode(message)
        except EncodingError as error:
            kind = type(message).__qualname__
            raise CheckpointError(f"{mailbox.path} has a {kind} waiting that can't be kept: {error}") from error

    def _codec(self, mailbox: Mailbox) -> Codec:
        key = (mailbox.cell.actor_class, mailbox.name)
        if key not in self._codecs:
            self._codecs[key] = codec_of(mailbox.cell.in_ports[mailbox.name])
        return self._codecs[key]

    def path(self, body: bytes) -> str:
        """Whose entry this is.

        Raises:
            DecodingError: it is damaged.
        """
        path, *_ = _fields(body)
        return str(path)

    def read(self, cell: Cell, body: bytes) -> ActorInCut:
        """What a cut has of this actor.

        Raises:
            DecodingError: it is damaged, or was made by a newer program.
            Exception: what a migration of its state raises.
        """
        path, is_up, is_drained, is_over, state, messages, requests, timers = _fields(body)
        return ActorInCut(
            path,
            is_up,
            is_drained,
            is_over,
            None if state is None else unpack_state(cell.actor_class, state),
            [(port, self._decoded(cell, port, data)) for port, data in messages],
            Counter(requests),
            [(port, left, self._decoded(cell, port, data)) for port, left, data in timers],
        )

    def _decoded(self, cell: Cell, port: str, data: bytes) -> object:
        if port not in cell.in_ports:
            raise DecodingError(f"{cell.path} has no port {port!r} any more, and there is a message for it")
        return self._codec(cell.mailbox(port)).decode(data)


def write_head(cut: Cut) -> bytes:
    """The entry of a cut in the list of all."""
    return _pack([FORMAT, cut.taken_at.isoformat(), cut.actors, cut.messages])


def read_head(number: int, body: bytes) -> Cut:
    """A cut in the list of all.

    Raises:
        DecodingError: it is damaged, or of a newer actorkit.
    """
    try:
        form, taken_at, actors, messages = unpack(body)
        if form == FORMAT:
            return Cut(number, datetime.fromisoformat(taken_at), actors, messages)
    except Exception as error:
        raise DecodingError(f"cut {number} is damaged: {error}") from error
    raise DecodingError(f"cut {number} is of a newer actorkit")


def _fields(body: bytes) -> list[Any]:
    try:
        fields: list[Any] = unpack(body)
        if len(fields) == 8 and isinstance(fields[0], str):
            return fields
    except Exception as error:
        raise DecodingError(f"an entry of the cut is damaged: {error}") from error
    raise DecodingError("an entry of the cut is damaged")


def _state_of(life: Incarnation) -> bytes | None:
    if "snapshot" not in life.hooks:
        return None
    try:
        return pack_state(life.cell.actor_class, call(type(life.actor).snapshot, life.actor))
    except Exception as error:
        raise CheckpointError(f"the state of {life.cell.path} can't be kept: {type(error).__name__}: {error}") from error


def mail_of(cell: Cell) -> list[tuple[Mailbox, Any]]:
    """All messages that an actor has not handled, in the order in which its next life would get them; nothing is moved."""
    items: list[tuple[Mailbox, Any]] = [] if cell.aside is None else [*cell.aside.stash_now]
    entries: list[Mailbox] = [] if cell.aside is None else cell.aside.shelf
    if isinstance(cell, BatchCell):
        items += cell.in_parts
        entries += cell.collected
    elif cell.port is not None:
        items.append((cell.port, cell.message))
    queues: dict[Mailbox, deque[Any]] = {}
    for mailbox in cell.mailboxes.values():
        items += [(mailbox, each) for each in mailbox.parked]
        if mailbox.overflow.spilled:
            let_all_in(mailbox)
        if mailbox.overflow.spilled:
            raise CheckpointError(f"what {mailbox.path} has on disk can't be read now")
        queues[mailbox] = deque(mailbox.queue)
    entries += [cell.sole] * len(cell.sole.queue) if cell.sole is not None else list(cell.arrivals)
    return items + [(mailbox, queues[mailbox].popleft()) for mailbox in entries]


def replace_mail(cell: Cell, kept: ActorInCut) -> int:
    """The messages of an actor that is down are those of the cut from now on; says how many were dropped for that."""
    dropped = 0
    for mailbox in cell.mailboxes.values():
        if mailbox.overflow.spilled:
            let_all_in(mailbox)
        items = list(mailbox.queue)
        mailbox.queue.clear()
        for item in items:
            _drop(mailbox, item)
        dropped += len(items)
    if cell.sole is None and cell.arrivals:
        cell.arrivals.clear()
    for port, message in kept.messages:
        cell.mailbox(port).put(message)
    for port, count in kept.requests.items():
        mailbox = cell.mailbox(port)
        for _ in range(count):
            mailbox.accepted += 1
            mailbox.skip("asker_gone")
    for mailbox in cell.mailboxes.values():
        _send_away(mailbox)
        mailbox.make_room()
    return dropped


def _send_away(mailbox: Mailbox) -> None:
    """Copies of messages whose senders have gone wait at the door no longer: their senders will send them again, or never have."""
    mailbox.capacity, capacity = 0, mailbox.capacity  # so that none slips in meanwhile
    for copy in [each for each in mailbox.room if isinstance(each, Copy) and each.is_left_behind]:
        mailbox.leave_room(copy)
        copy.wake()
    mailbox.capacity = capacity


def _drop(mailbox: Mailbox, item: Any) -> None:
    mailbox.drop(REPLACED)
    if type(item) is Envelope:
        item.fail(f"{mailbox.path} will not answer: its actor was put back to a cut, and this request came after that")
        if item.letter is not None:
            mailbox.cell.kernel.dead_letters.keep(item.letter)


def begin_as(life: Incarnation, kept: ActorInCut) -> None:
    """A life has begun that goes on where the cut was: the timers that were to come, and a `run` that had ended."""
    for timer in list(life.timers or ()):
        if timer.period is None:
            timer.cancel()  # of `on_start`; if it was still to come, the cut has it
    for port, left, message in kept.timers:
        life.after(left, life.cell.in_ports[port], message)
    if kept.run_is_over:
        life.run_is_over = True
    if kept.is_drained:
        life.cell.drained = True
        life.cell.close_wires()
    life.check_ending()


def paths_that_differ(there: Sequence[str], kept: Sequence[str]) -> str:
    """For people, in what the actors that there are differ from those of the cut; empty if they don't."""
    missing, new = sorted({*kept} - {*there}), sorted({*there} - {*kept})
    texts = [
        f"{what}: {', '.join(paths[:5])}{', …' if len(paths) > 5 else ''}" for what, paths in (("missing", missing), ("new", new)) if paths
    ]
    return "; ".join(texts)
