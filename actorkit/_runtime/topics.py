"""Topics: named channels that anyone may publish to, and subscribe to, while the system runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import frozen

from actorkit._runtime.annotations import runtime_types
from actorkit._runtime.broadcast import Voice, send_to_all_nowait
from actorkit._runtime.ports import InPort, Junction, OutEnd, Wire, fits
from actorkit._runtime.waits import acting
from actorkit._runtime.wording import shown, type_names
from actorkit.errors import MessageTypeError, SpecError, SpecTypeError, WiringError
from actorkit.events import TopicUnheard
from actorkit.policy.checks import complaint

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox

M = TypeVar("M")


class Topic(Junction, Generic[M]):
    """A named channel: `Cls.out_x >> topic`, `topic >> Cls.in_y`, `self.subscribe(topic, Cls.in_y)`, `system.publish(topic, message)`.

    A value: two of the same name and type are the same topic. Each system has its own channel of that name.

    Args:
        name: what the channel is known by.
        message_type: the class of the messages (at run time a union will do, too).

    Raises:
        ValueError: the name is empty (a wrong type: TypeError).
    """

    def __init__(self, name: str, message_type: type[M]) -> None:
        if not isinstance(name, str):
            raise SpecTypeError(complaint("Topic", "name", name, "a str"))
        if not name.strip():
            raise SpecError(complaint("Topic", "name", name, "a text that is not empty"))
        self.name = name
        self.types = runtime_types(message_type, f"Topic({name!r}, {message_type!r})")

    def __rshift__(self, to: InPort[Any, M, Any]) -> Wire:
        if not isinstance(to, InPort):
            raise WiringError(f"{self} >> {to!r}: a topic is wired to an in-port of an actor class, or of a child: child[Class.in_x]")
        check_fit(self, to)
        return TopicWire(OutEnd(Topic, self.name, self.types, None), (to,), None, self)

    def __rrshift__(self, out: OutEnd[Any, M]) -> Wire:
        if not isinstance(out, OutEnd):
            raise WiringError(
                f"{out!r} >> {self}: what is wired to a topic is an out-port of an actor class, or of a child: child[Class.out_x]"
            )
        if not fits(out.types, self.types):
            raise WiringError(f"{out} >> {self}: {type_names(out.types)} is sent, but the topic is of {type_names(self.types)}")
        return TopicWire(out, (), None, self)

    def __eq__(self, other: object) -> bool:
        return (self.name, self.types) == (other.name, other.types) if isinstance(other, Topic) else NotImplemented

    def __hash__(self) -> int:
        return hash((Topic, self.name))

    def __str__(self) -> str:
        return f"topic {self.name!r}({type_names(self.types)})"

    def __repr__(self) -> str:
        return f"<Topic {self.name!r} of {type_names(self.types)}>"


@frozen(eq=False)
class TopicWire(Wire):
    """A wire with a topic at one end: `to` subscribes to it, or, if that is empty, `out` publishes to it."""

    topic: Topic[Any]

    def __str__(self) -> str:
        return f"{self.topic} >> {self.to[0]}" if self.to else f"{self.out} >> {self.topic}"


def check_fit(topic: Topic[Any], port: InPort[Any, Any, Any]) -> None:
    """Raises `WiringError` unless the port takes all that may be published."""
    if not fits(topic.types, port.types):
        raise WiringError(
            f"{topic} >> {port}: the topic is of {type_names(topic.types)}, but {type_names(port.types)} is taken; give both one type"
        )


class Channel:
    """A topic in one running system: its subscribers, in the order in which they came.

    A subscription belongs to the address, as a wire does: it outlives restarts. Who has ended gets nothing until it is started again.
    """

    __slots__ = ("_kernel", "_voices", "discarded", "subscribers", "topic")

    def __init__(self, kernel: Kernel, topic: Topic[Any]) -> None:
        self._kernel = kernel
        self._voices: dict[Cell | None, Voice] = {}
        self.topic = topic
        self.subscribers: dict[Mailbox, None] = {}
        self.discarded = 0

    def subscribe(self, mailbox: Mailbox) -> None:
        """Messages go to this port, too, from now on; does nothing if they do already."""
        if mailbox not in self.subscribers:
            self.subscribers[mailbox] = None
            mailbox.subscriptions += 1
            mailbox.open_wires += 1  # anyone may publish, so it is open until the run ends

    def unsubscribe(self, mailbox: Mailbox) -> None:
        """No more messages go to this port; does nothing if none do."""
        if mailbox in self.subscribers:
            del self.subscribers[mailbox]
            mailbox.subscriptions -= 1
            mailbox.open_wires -= 1
            if mailbox.cell.life is not None:
                mailbox.cell.life.check_ending()

    def forget(self, cell: Cell) -> None:
        """That actor exists no more."""
        for mailbox in cell.mailboxes.values():
            self.subscribers.pop(mailbox, None)
        self._voices.pop(cell, None)

    def receivers(self) -> list[Mailbox]:
        """Who gets a message that is published now. If nobody does, it is discarded, counted, and that is reported once."""
        receivers = [mailbox for mailbox in self.subscribers if not mailbox.cell.gone]
        if not receivers:
            self.discarded += 1
            if self.discarded == 1:
                self._kernel.events.publish(TopicUnheard(self.topic.name))
        return receivers

    def publish(self, message: Any) -> Awaitable[None]:
        """Sends to all subscribers, from outside of any out-port."""
        receivers = self._receivers_of(message)
        if len(receivers) == 1:
            return receivers[0].send(message)
        sender = acting.get()
        voice = self._voices.get(sender)
        if voice is None:
            voice = self._voices[sender] = Voice(self._kernel.dispatcher)
        return voice.send(message, receivers)

    def publish_nowait(self, message: Any) -> None:
        """Sends to all subscribers, or to none: raises `MailboxFull` if one has no room."""
        send_to_all_nowait(str(self.topic), message, self._receivers_of(message))

    def _receivers_of(self, message: Any) -> list[Mailbox]:
        if not isinstance(message, self.topic.types):
            raise MessageTypeError(
                f"{self.topic} takes {type_names(self.topic.types)}, not {type(message).__name__}: {shown(message)} was not accepted;"
                " publish what the topic was made for"
            )
        return [mailbox.receiver(message) for mailbox in self.receivers()]


class Topics:
    """The channels of one running system, by name."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.channels: dict[str, Channel] = {}

    def channel(self, topic: Topic[Any]) -> Channel:
        """The channel of this topic, made when first used.

        Raises:
            SpecTypeError: `topic` is no topic.
            WiringError: there is a topic of this name, and of another type.
        """
        if not isinstance(topic, Topic):
            raise SpecTypeError(f"{topic!r} is not a topic: expected Topic(name, type)")
        channel = self.channels.get(topic.name)
        if channel is None:
            channel = self.channels[topic.name] = Channel(self._kernel, topic)
        elif channel.topic != topic:
            raise WiringError(f"{topic}: in this system, {channel.topic} has that name already; give one of them another name")
        return channel

    def subscribe(self, life: Incarnation, topic: Topic[Any], port: InPort[Any, Any, Any]) -> None:
        """See `Actor.subscribe`."""
        channel, mailbox = self.channel(topic), life.cell.ref.resolve(port)
        check_fit(topic, life.cell.in_ports[port.name])
        if not life.ended:
            channel.subscribe(mailbox)

    def unsubscribe(self, life: Incarnation, topic: Topic[Any], port: InPort[Any, Any, Any]) -> None:
        """See `Actor.unsubscribe`."""
        channel, mailbox = self.channel(topic), life.cell.ref.resolve(port)
        if not life.ended:
            channel.unsubscribe(mailbox)

    def forget(self, cell: Cell) -> None:
        """That actor exists no more."""
        for channel in self.channels.values():
            channel.forget(cell)

    def snapshot(self) -> dict[str, Any]:
        """The channels as plain data."""
        return {
            name: {"subscribers": [mailbox.path for mailbox in each.subscribers], "discarded": each.discarded}
            for name, each in self.channels.items()
        }
