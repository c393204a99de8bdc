"""Connecting out-ports to in-ports, once it is known which actors there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from actorkit._runtime.ports import fits
from actorkit._runtime.register import Register
from actorkit._runtime.topics import TopicWire
from actorkit._runtime.wording import type_names
from actorkit.errors import WiringError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.outlets import Outlet
    from actorkit._runtime.ports import InPort, OutEnd, Wire
    from actorkit._runtime.topics import Channel

    Types = type | tuple[type, ...]


@frozen
class Connection:
    """One wire in place: enough to take it out again."""

    outlet: Outlet
    mailboxes: list[Mailbox]
    line: Callable[[Any], Mailbox]
    first: list[Mailbox]  # those that had no wire before

    def undo(self) -> None:
        """Takes it out, as if it had never been."""
        self.outlet.disconnect(self.mailboxes, self.line)
        for mailbox in self.first:
            mailbox.wired = False
        self.outlet.renew()


@frozen
class Joint:
    """One wire to or from a topic: an out-port that publishes, or a port that subscribes."""

    channel: Channel
    outlet: Outlet | None
    mailbox: Mailbox | None

    @property
    def is_made(self) -> bool:
        """Whether it is in place."""
        return self.channel in self.outlet.channels if self.outlet is not None else self.mailbox in self.channel.subscribers

    def make(self) -> None:
        """Puts it in place."""
        if self.outlet is not None:
            self.outlet.channels.append(self.channel)
            self.outlet.renew()
        elif self.mailbox is not None:
            self.channel.subscribe(self.mailbox)

    def undo(self) -> None:
        """Takes it out."""
        if self.outlet is not None:
            self.outlet.channels.remove(self.channel)
            self.outlet.renew()
        elif self.mailbox is not None:
            self.channel.unsubscribe(self.mailbox)


Connections = list[Connection | Joint]


def connect(cells: Register, wires: Sequence[Wire], new: Iterable[Cell] = ()) -> Connections:
    """Connects all wires, or none.

    Args:
        cells: all actors of the system.
        wires: what to connect.
        new: those of them that are being added: an end that could be one of these is one of these.

    Raises:
        WiringError: an end is unknown, ambiguous, or of another type, a wire is there twice; the text names both ends.
    """
    if not wires:
        return []
    added = Register(new)
    found: list[tuple[Outlet, list[Mailbox], Wire]] = []
    pairs: set[tuple[str, str]] = set()
    joints: list[Joint] = []
    for wire in wires:
        if isinstance(wire, TopicWire):
            joints.append(_joint(cells, wire, added))
            if joints[-1].is_made or joints[-1] in joints[:-1]:
                raise WiringError(f"{wire}: this wire is there already, so each message would arrive twice; drop one")
            continue
        outlet = _cell(cells, wire.out, wire, added).outlet(wire.out.name)
        mailboxes = [_cell(cells, port, wire, added).mailbox(port.name) for port in wire.to]
        for mailbox in mailboxes:
            _check_types(wire, outlet.path, outlet.types, mailbox.path, mailbox.types)
            if (outlet.path, mailbox.path) in pairs or mailbox in outlet.targets:
                raise WiringError(
                    f"{wire}: {outlet.path} and {mailbox.path} are wired twice, so each message would arrive twice; drop one wire"
                )
            pairs.add((outlet.path, mailbox.path))
        found.append((outlet, mailboxes, wire))
    pickers = [None if wire.route is None else wire.route.picker(mailboxes) for _, mailboxes, wire in found]
    made: Connections = []
    for (outlet, mailboxes, _), pick in zip(found, pickers, strict=True):
        first = [mailbox for mailbox in mailboxes if not mailbox.wired]
        made.append(Connection(outlet, mailboxes, outlet.connect(mailboxes, pick), first))
        outlet.renew()
    for joint in joints:
        joint.make()
        made.append(joint)
    return made


def _joint(cells: Register, wire: TopicWire, added: Register) -> Joint:
    cell = _cell(cells, wire.to[0] if wire.to else wire.out, wire, added)
    topic, channel = wire.topic, cell.kernel.topics.channel(wire.topic)
    if wire.to:
        mailbox = cell.mailbox(wire.to[0].name)
        _check_types(wire, str(topic), topic.types, mailbox.path, mailbox.types)
        return Joint(channel, None, mailbox)
    outlet = cell.outlet(wire.out.name)
    _check_types(wire, outlet.path, outlet.types, str(topic), topic.types)
    return Joint(channel, outlet, None)


def _check_types(wire: Wire, sender: str, sent: Types, receiver: str, taken: Types) -> None:
    """The ends of a wire fit, but the actors that they have turned out to be may be subclasses, with ports of other types."""
    if not fits(sent, taken):
        raise WiringError(
            f"{wire}: {sender} sends {type_names(sent)}, but {receiver} takes {type_names(taken)}, as its class declares that port anew;"
            " wire ports of one type"
        )


def disconnect(made: Connections) -> None:
    """Takes connections out again, as if they had never been."""
    for each in made:
        each.undo()


def check_required(cells: Iterable[Cell]) -> None:
    """Raises `WiringError` if an out-port that requires a wire has none."""
    for cell in cells:
        for name in cell.actor_class.actorkit_blueprint.required:
            if not (name in cell.outlets and cell.outlets[name].is_wired):
                raise WiringError(
                    f"{cell.path}.{name} requires a wire and has none; add {cell.actor_class.__qualname__}.{name} >> … to wires=[…]"
                )


def _cell(cells: Register, end: OutEnd[Any, Any] | InPort[Any, Any, Any], wire: Wire, added: Register) -> Cell:
    if end.spec is not None:
        cell = added.of_spec(end.spec, end.spec.actor) or cells.of_spec(end.spec, end.spec.actor)
        if cell is None:
            hint = " (.options(…) makes a new spec: index that one)" if end.spec.actor in cells.classes else ""
            raise WiringError(f"{wire}: {end.spec.title} is not in this tree{hint}")
        return cell
    found = added.candidates(end.owner) or cells.candidates(end.owner)
    if not found:
        raise WiringError(f"{wire}: there is no {end.owner.__qualname__} in this tree; add child({end.owner.__qualname__}, …)")
    if len(found) > 1:
        paths = ", ".join(cell.path for cell in found)
        raise WiringError(f"{wire}: {end} could be any of {paths}; name one by its spec: spec[{end.owner.__qualname__}.{end.name}]")
    return found[0]
