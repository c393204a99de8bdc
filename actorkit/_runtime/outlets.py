"""The sending side: where the messages of an actor's out-ports go."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from actorkit._runtime.broadcast import Voice, send_to_all_nowait
from actorkit._runtime.compiling import mypyc_attr, protected
from actorkit._runtime.mailbox import Mailbox
from actorkit._runtime.wording import shown, type_names
from actorkit.errors import ActorNotRunning, MessageTypeError
from actorkit.events import OutPortUnwired

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.ports import OutPort
    from actorkit._runtime.topics import Channel

M = TypeVar("M")


@mypyc_attr(allow_interpreted_subclasses=True)
class Outlet:
    """One out-port of one actor, across its lives: the mailboxes that its wires lead to.

    Each entry of `lines` is one wire: it picks the mailbox for a message (a plain wire has one to pick from).
    """

    __slots__ = ("cell", "channels", "discarded", "lines", "name", "path", "targets", "types", "voice")

    def __init__(self, cell: Cell, port: OutPort[Any]) -> None:
        self.cell = cell
        self.name = port.name
        self.path = f"{cell.path}.{port.name}"
        self.types = port.types
        self.lines: list[Callable[[Any], Mailbox]] = []
        self.targets: list[Mailbox] = []  # all mailboxes that a message could go to
        self.channels: list[Channel] = []  # topics that it publishes to
        self.voice = Voice(cell.kernel.dispatcher)
        self.discarded = 0

    def connect(self, mailboxes: list[Mailbox], pick: Callable[[Any], Mailbox] | None) -> Callable[[Any], Mailbox]:
        """Adds a wire to these mailboxes, and returns its line; `pick` chooses one of them per message (None: there is one)."""
        only = mailboxes[0]

        def always(_: object) -> Mailbox:
            return only

        chosen = pick or always

        def through_the_door(message: object) -> Mailbox:
            return chosen(message).receiver(message)

        line = through_the_door if any(each.is_door for each in mailboxes) else chosen
        self.lines.append(line)
        for mailbox in mailboxes:
            self.targets.append(mailbox)
            mailbox.wired = True
            mailbox.open_wires += 1
        return line

    def disconnect(self, mailboxes: list[Mailbox], line: Callable[[Any], Mailbox]) -> None:
        """Takes out a wire that `connect` has added."""
        self.lines.remove(line)
        for mailbox in mailboxes:
            self.targets.remove(mailbox)
            mailbox.open_wires -= 1

    def renew(self) -> None:
        """Wires were added or taken out: the actor's sender is to take the shortest way again."""
        life = self.cell.life
        if life is not None and self.name in life.senders:
            life.senders[self.name].renew()

    def direct(self) -> Mailbox | None:
        """The mailbox that messages can go to without a look at this outlet: one wire, one type."""
        is_direct = len(self.targets) == 1 and self.targets[0].types == self.types and not self.channels
        return self.targets[0] if is_direct else None

    @property
    def is_wired(self) -> bool:
        """Whether what is sent goes anywhere."""
        return bool(self.lines or self.channels)

    def reach(self) -> list[Mailbox]:
        """All mailboxes that a message could go to, over wires and topics."""
        return [*self.targets, *(mailbox for channel in self.channels for mailbox in channel.subscribers)]

    @protected
    def send(self, message: Any) -> Awaitable[None]:
        """Sends to every wire, waiting for room where there is none."""
        receivers = self._receivers(message)
        return receivers[0].send(message) if len(receivers) == 1 else self.voice.send(message, receivers)

    @protected
    def send_nowait(self, message: Any) -> None:
        """Sends to every wire, or to none: raises `MailboxFull` if one has no room."""
        send_to_all_nowait(self.path, message, self._receivers(message))

    @protected
    def emit(self, message: Any) -> None:
        """Sends to every wire, above capacity if need be; then this actor is held until there is room again."""
        for each in self._receivers(message):
            each.emit(self.cell, message)

    def discard(self) -> None:
        """What was sent goes nowhere: counts it, and reports that once."""
        self.discarded += 1
        if self.discarded == 1:
            self.cell.kernel.events.publish(OutPortUnwired(self.path))

    def _receivers(self, message: Any) -> list[Mailbox]:
        if not isinstance(message, self.types):
            raise MessageTypeError(
                f"{self.path} sends {type_names(self.types)}, not {type(message).__name__}: {shown(message)} was not accepted;"
                " send what the out-port was declared for"
            ).at(self.path)
        if not self.is_wired:
            self.discard()
        receivers = [pick(message) for pick in self.lines]
        for channel in self.channels:
            receivers += [each.receiver(message) for each in channel.receivers()]
        return receivers


class Sender(Generic[M]):
    """An out-port in use: what `self.out_line` is on a running actor. It belongs to one life of the actor and ends with it."""

    __slots__ = ("_life", "_outlet", "emit", "send")

    send: Callable[[M], Awaitable[None]]
    """Sends `message` to every wire of this port; waits while a receiver has no room.

    Without a wire the message is discarded, counted, and reported once. A receiver that has ended gets it as a
    dead letter: that is never the sender's failure.

    Raises:
        MessageTypeError: `message` is not of the port's type.
        ActorNotRunning: this life of the actor has ended.
    """
    emit: Callable[[M], None]
    """As `send`, for plain handlers: never waits, never fails for lack of room.

    A full receiver takes the message above its capacity, and this actor takes no new message until that port is
    back within its capacity.

    Raises:
        MessageTypeError: `message` is not of the port's type.
        ActorNotRunning: this life of the actor has ended.
    """

    def __init__(self, outlet: Outlet, life: Incarnation) -> None:
        self._outlet = outlet
        self._life = life
        self.renew()

    def renew(self) -> None:
        """Takes the shortest way to the receivers; to be called when wires were added, or the pace of the actor has changed."""
        if self._life.ended:
            return
        outlet, direct = self._outlet, self._outlet.direct()
        self.send = outlet.send if direct is None else direct.send  # attributes, so that the shortest way costs no step in between
        if outlet.cell.pace is not None:
            self.send = partial(outlet.cell.pace.send, self.send)
        self.emit = outlet.emit if direct is None else partial(direct.emit, outlet.cell)

    def close(self) -> None:
        """This life of the actor has ended: late sends of it are refused."""
        self.send = self._refuse
        self.emit = self._refuse_too

    def send_nowait(self, message: M) -> None:
        """As `send`, but raises instead of waiting.

        Raises:
            MailboxFull: a receiver has no room; nobody got the message.
            MessageTypeError: `message` is not of the port's type.
            ActorNotRunning: this life of the actor has ended.
        """
        if self._life.ended:
            raise self._refusal(message)
        self._outlet.send_nowait(message)

    def _refuse(self, message: object) -> Awaitable[None]:
        raise self._refusal(message)

    def _refuse_too(self, message: object) -> None:
        raise self._refusal(message)

    def _refusal(self, message: object) -> ActorNotRunning:
        return ActorNotRunning(
            f"{self._outlet.path}: incarnation {self._life.number} of this actor has ended, so its late {shown(message)} is refused;"
            " a handler that was cancelled must let trio.Cancelled pass"
        )
