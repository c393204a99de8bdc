"""Who of a group gets a message: any member, by a route, or the one that owns the message's key."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from actorkit._runtime.boundaries import between_messages
from actorkit._runtime.key_slots import owners, slot_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorkit._runtime.doors import Door
    from actorkit._runtime.groups import GroupCell, MemberCell
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.routing import Route


class Sharing:
    """Who gets a message, where any member would do."""

    def __init__(self, group: GroupCell, route: Route) -> None:
        self._group = group
        self._route = route
        self._mailboxes: dict[str, list[Mailbox]] = {}

    def picker(self, door: Door) -> Callable[[Any], Mailbox]:
        """See `Keeper.picker`."""
        if door.line is None:
            door.line = {}
        mailboxes = self._mailboxes[door.name] = [each.mailbox(door.name) for each in self._members()]
        pick = self._route.picker(mailboxes)

        def pick_with_room(message: Any) -> Mailbox:
            mailbox = pick(message)
            return mailbox if mailbox.has_room else next((each for each in mailboxes if each.has_room), mailbox)

        return pick_with_room

    def _members(self) -> list[MemberCell]:
        return self._group.keeper.active() or list(self._group.keeper.members())

    def another(self, mailbox: Mailbox) -> Mailbox:
        """The least loaded of the others."""
        others = [each for each in self._mailboxes[mailbox.name] if each is not mailbox]
        return min(others, key=lambda each: each.load, default=mailbox)

    def changed(self) -> None:
        """Members have come or gone."""
        for name, mailboxes in self._mailboxes.items():
            mailboxes[:] = [each.mailbox(name) for each in self._members()]
            if self._group.door(name).line:
                for mailbox in mailboxes:
                    mailbox.make_room()

    def leave(self, member: MemberCell, *, keep_tried: bool) -> None:
        """What waits at a member that is out goes to the others."""
        member.fetch()
        member.move_mail(lambda mailbox, message: self._group.door(mailbox.name).pick(message), keep_tried=keep_tried)

    def spread(self, newcomer: MemberCell) -> None:
        """A new member takes its part of what waits."""
        members = self._group.keeper.active()
        waiting = sum(each.waiting for each in members)
        fair = waiting // len(members)
        for member in members:
            spare = member.waiting - fair
            if member is not newcomer and spare > 0:
                place = count()
                member.move_mail(lambda mailbox, _: mailbox if next(place) < fair else newcomer.mailbox(mailbox.name))  # noqa: B023


class Owning:
    """Who gets a message, where each key has an owner."""

    def __init__(self, group: GroupCell, key: Callable[[Any], object]) -> None:
        self._group = group
        self._key = key
        self._owners: list[MemberCell] = []  # by slot
        self._heirs: list[MemberCell] = []  # who is to own it as soon as the owner has no message in hand

    def picker(self, door: Door) -> Callable[[Any], Mailbox]:
        """See `Keeper.picker`."""
        self._settle_owners()
        key, by_slot, name = self._key, self._owners, door.name

        def pick(message: Any) -> Mailbox:
            member = by_slot[slot_of(key(message))]
            return member.mailboxes.get(name) or member.mailbox(name)

        return pick

    def another(self, mailbox: Mailbox) -> Mailbox:
        """Nobody else may handle it."""
        return mailbox

    def _settle_owners(self) -> None:
        members = {int(each.name.rpartition("-")[2]): each for each in self._group.keeper.active()}
        if members or not self._owners:
            members = members or {int(each.name.rpartition("-")[2]): each for each in self._group.keeper.members()}
            self._heirs = [members[number] for number in owners(list(members))]
            if not self._owners:
                self._owners.extend(self._heirs)

    def changed(self) -> None:
        """Members have come or gone."""
        self._settle_owners()
        for member in {owner for owner, heir in zip(self._owners, self._heirs, strict=True) if owner is not heir}:
            if member in self._group.keeper.active():
                between_messages(member, partial(self._hand_over, member))

    def leave(self, member: MemberCell, *, keep_tried: bool) -> None:
        """What waits at a member that is out goes to the heirs of its keys."""
        self._hand_over(member, keep_tried=keep_tried)

    def _hand_over(self, member: MemberCell, *, keep_tried: bool = False) -> None:
        """Passes on the keys that are another's from now on, with what waits for them."""
        if not member.fetch() and member in self._group.keeper.active():
            return  # what can't be read can't be passed on: it keeps its keys until the next change
        by_slot, key = self._owners, self._key
        for slot, owner in enumerate(by_slot):
            if owner is member:
                by_slot[slot] = self._heirs[slot]
        member.move_mail(lambda mailbox, message: by_slot[slot_of(key(message))].mailbox(mailbox.name), keep_tried=keep_tried)

    def spread(self, newcomer: MemberCell) -> None:
        """What waits for its keys comes with them."""
