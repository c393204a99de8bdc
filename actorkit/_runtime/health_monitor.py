"""Looks at how all components do: gathers what the runtime knows of each, and asks those that have a `health`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import define, frozen
from trio.lowlevel import checkpoint

from actorkit._runtime.groups import GroupCell, actors_of
from actorkit._runtime.states import PARKED, WAITING
from actorkit.events import HealthChanged, HealthCheckFailed
from actorkit.policy.breaker import CircuitState
from actorkit.policy.health import Health, HealthStatus, HealthThresholds, NoAnswer, Vitals, assess, roll_up
from actorkit.policy.health_rules import HealthAction, Spell, action_due

if TYPE_CHECKING:
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.kernel import Kernel

AT_ONCE: Final = 100
"""Components that are looked at in a row; then others have their turn."""
LOOKED_AT_ONCE: Final = 1_000
"""The same, where it is only looked whether there is anything to do."""
MOST_ASKERS: Final = 20
"""Tasks that begin to ask at a time."""
UNKNOWN: Final = Health(HealthStatus.UNKNOWN, ("it was not looked at yet",))


@frozen
class SystemHealth:
    """How a system does, as `system.health()`.

    Attributes:
        status: of the whole.
        components: of each actor, pool and group of keyed actors, by path, with the reasons.
    """

    status: HealthStatus
    components: Mapping[str, Health]

    def below(self, path: str) -> HealthStatus:
        """Of all components below this supervisor."""
        return roll_up(health for each, health in self.components.items() if each == path or each.startswith(f"{path}/"))


@define
class Before:
    """What a component was like at the last poll."""

    processed: int
    failed: int
    failed_till_success: int  # how many had failed when it last handled one, or had nothing to do
    restarts: int
    queued: int
    progress_at: float  # when it last finished a message, or had none
    up_at: float | None = None  # when it was last seen up
    health: Health = UNKNOWN
    has_restarted: bool = False
    spell: Spell | None = None  # while it does badly


class Round:
    """The questions of one poll."""

    def __init__(self, lives: Iterable[Incarnation], deadline: float) -> None:
        self.to_ask = deque(lives)
        self.deadline = deadline
        self.free = 0  # askers that don't wait for an answer
        self.waiting = 0  # those that do
        self.over = trio.Event()  # none does any more


class HealthMonitor:
    """The health of all components of one system."""

    def __init__(self, kernel: Kernel, thresholds: HealthThresholds) -> None:
        self._kernel = kernel
        self._thresholds = thresholds
        self._before: dict[Cell, Before] = {}
        self._asked: dict[Incarnation, HealthStatus | NoAnswer | None] = {}  # None: no answer yet
        self._answering: set[Incarnation] = set()  # those that have been asked and have not answered, now or at an earlier poll
        self.due: dict[Cell, HealthAction] = {}  # what users' rules had to be done at the last poll

    def of(self, cell: Cell) -> Health:
        """How this component did at the last poll."""
        before = self._before.get(cell)
        return UNKNOWN if before is None else before.health

    def has_restarted(self, cell: Cell) -> bool:
        """Whether it was started again between the last two polls."""
        before = self._before.get(cell)
        return before is not None and before.has_restarted

    def of_all(self) -> SystemHealth:
        """How all did at the last poll."""
        components = {cell.path: self.of(cell) for cell in self._kernel.cells.values()}
        return SystemHealth(roll_up(components.values()), MappingProxyType(components))

    async def look(self) -> tuple[dict[Cell, None], int]:
        """Asks and judges all components; says which ones are unhealthy, and how many count."""
        cells = list(self._kernel.cells.values())
        await self._ask_all(cells)
        unhealthy: dict[Cell, None] = {}
        eligible = 0
        judged: dict[Cell, Before] = {}
        self.due = {}
        for number, cell in enumerate(cells, 1):
            if not cell.gone:
                status = self._judge(cell).status
                judged[cell] = self._before[cell]
                eligible += status is not HealthStatus.UNKNOWN
                if status is HealthStatus.UNHEALTHY:
                    unhealthy[cell] = None
            if number % AT_ONCE == 0:
                await checkpoint()
        self._before = judged
        return unhealthy, eligible

    def _judge(self, cell: Cell) -> Health:
        now = self._kernel.now()
        counts = [mailbox.numbers() for mailbox in cell.mailboxes.values()]
        processed, queued = sum(each[1] for each in counts), sum(each[5] + each[6] for each in counts)
        in_flight = sum(each[7] for each in counts)
        before = self._before.get(cell)
        if before is None:
            before = self._before[cell] = Before(0, 0, 0, 0, 0, now)
        elif not (queued or in_flight) and self._is_well_as_before(cell, before):
            before.processed, before.failed_till_success, before.queued = processed, cell.failed, 0
            before.progress_at = before.up_at = now
            before.has_restarted = False
            return before.health
        handled = processed - before.processed
        failed = cell.failed - (before.failed if handled else before.failed_till_success)
        has_work = bool(queued or in_flight)
        has_restarted = cell.restarts > before.restarts
        if handled or cell.failed > before.failed or not has_work or has_restarted or _stands_still(cell):
            before.progress_at = now
        is_running = cell.life is not None or cell.status in ("new", "starting", "restarting")
        if cell.life is not None or (before.up_at is None and cell.status == "restarting"):
            before.up_at = now
        elif cell.quarantined or not is_running:
            before.up_at = None  # it is not to come up
        health = assess(
            Vitals(
                is_running=is_running and not cell.gone and cell.status != "stopping",
                is_starting=cell.life is None,
                is_set_aside=cell.quarantined,
                delivered=handled + failed,
                failed=failed,
                queued=queued,
                queued_before=before.queued,
                capacity=None if _is_slowed_down(cell) else sum(each.settings.capacity for each in cell.mailboxes.values()) or None,
                stalled_for=now - before.progress_at,
                blocked_for=now - before.progress_at if cell.port is not None and cell.state in (WAITING, PARKED) else 0.0,
                restarts=max(0, cell.restarts - before.restarts),
                down_for=0.0 if before.up_at is None else now - before.up_at,
                open_breakers=_open_breakers(cell),
                own=self._own(cell),
            ),
            self._thresholds,
        )
        if handled or not has_work:
            before.failed_till_success = cell.failed
        before.has_restarted = has_restarted
        before.processed, before.failed, before.restarts, before.queued = processed, cell.failed, cell.restarts, queued
        if health.status is not before.health.status:
            self._kernel.events.publish(HealthChanged(cell.path, before.health.status, health.status, health.reasons))
        before.health = health
        self._look_at_rules(cell, before)
        return health

    def _look_at_rules(self, cell: Cell, before: Before) -> None:
        status = before.health.status
        if status is HealthStatus.HEALTHY:
            before.spell = None
        if status in (HealthStatus.HEALTHY, HealthStatus.UNKNOWN) or not (rules := cell.policy.health_rules):
            return
        if before.has_restarted and status is HealthStatus.DEGRADED:
            return  # that may be all that is wrong: to restart it for it would never end
        before.spell = before.spell or Spell()
        before.spell.note(status)
        action = action_due(rules, cell.path, before.spell)
        if action is not None:
            self.due[cell] = action
        if action is HealthAction.SET_ASIDE:
            before.spell = None

    def _is_well_as_before(self, cell: Cell, before: Before) -> bool:
        """Of one with nothing to do: what most are at most polls, so that these cost little."""
        return (
            before.health.status is HealthStatus.HEALTHY
            and cell.status == "running"
            and cell.life is not None
            and cell.gates is None
            and before.failed == cell.failed
            and before.restarts == cell.restarts
            and self._asked.get(cell.life, HealthStatus.HEALTHY) is HealthStatus.HEALTHY
            and not isinstance(cell, GroupCell)
        )

    # What they say themselves

    async def _ask_all(self, cells: list[Cell]) -> None:
        """Asks all that have a `health`, side by side. One that does not return holds nobody up, at this poll or the next."""
        lives: list[Incarnation] = []
        for number, cell in enumerate(cells, 1):
            if "health" in cell.actor_class.actorkit_blueprint.hooks:
                lives += [life for life in _lives(cell) if life.started]
            if number % LOOKED_AT_ONCE == 0:
                await checkpoint()
        self._asked = dict.fromkeys(lives)
        this_round = Round(lives, trio.current_time() + self._thresholds.answer_within)
        await self._send_askers(this_round)
        with trio.move_on_at(this_round.deadline):
            while this_round.waiting:
                this_round.over = trio.Event()
                await this_round.over.wait()
        for life in this_round.to_ask:  # there was no time to ask them
            del self._asked[life]

    async def _send_askers(self, this_round: Round) -> None:
        """One asks all, as long as all answer at once. For each that waits for an answer another one goes on, soon several at a time."""
        number = 1
        while this_round.to_ask and trio.current_time() < this_round.deadline:
            if not this_round.free:
                for _ in range(min(number, len(this_round.to_ask))):
                    this_round.free += 1
                    self._kernel.launch(self._ask_some, this_round)
                number = min(2 * number, MOST_ASKERS)
            await checkpoint()

    async def _ask_some(self, its_round: Round) -> None:
        with trio.CancelScope(deadline=its_round.deadline):
            asked = 0
            while its_round.to_ask:
                life = its_round.to_ask.popleft()
                if life not in self._answering:  # else it is still at the last question
                    await self._ask(life, its_round)
                asked += 1
                if asked % AT_ONCE == 0:
                    await checkpoint()
        its_round.free -= 1

    async def _ask(self, life: Incarnation, its_round: Round) -> None:
        answer: HealthStatus | NoAnswer = NoAnswer.LATE
        its_round.free -= 1
        its_round.waiting += 1
        self._answering.add(life)
        try:
            answer = await life.ask_health()
        except Exception as error:
            answer = NoAnswer.FAILED
            self._kernel.events.publish(HealthCheckFailed(life.cell.path, error))
        finally:
            self._answering.discard(life)
            if life in self._asked:
                self._asked[life] = answer
            its_round.free += 1
            its_round.waiting -= 1
            if not its_round.waiting:
                its_round.over.set()

    def _own(self, cell: Cell) -> HealthStatus | NoAnswer | None:
        """Its answer; of a group, the worst that more than half of its members give."""
        answers = [self._asked[life] or NoAnswer.LATE for life in _lives(cell) if life in self._asked]
        if not answers:
            return None
        bad = [each for each in answers if each is HealthStatus.UNHEALTHY or isinstance(each, NoAnswer)]
        if 2 * len(bad) > len(answers):
            return bad[0]
        return HealthStatus.DEGRADED if bad or HealthStatus.DEGRADED in answers else HealthStatus.HEALTHY


def _lives(cell: Cell) -> list[Incarnation]:
    """Of an actor, or of a group's members; keyed actors, of whom there may be thousands, are not asked."""
    if isinstance(cell, GroupCell) and not cell.keeper.asks_members:
        return []
    return [each.life for each in actors_of(cell) if each.life is not None]


def _stands_still(cell: Cell) -> bool:
    """Whether it takes no message because somebody or something holds it: a throttle, a pause, a retry, an emergency."""
    if cell.stands_still or (cell.gates is not None and cell.gates.has_shelved):
        return True
    return any(mailbox.is_paused for mailbox in cell.mailboxes.values())


def _is_slowed_down(cell: Cell) -> bool:
    """Whether something makes it slower than it could be: that its mailbox is full then says nothing."""
    return any(each.gates is not None and each.gates.rate is not None for each in actors_of(cell))


def _open_breakers(cell: Cell) -> int:
    gates = cell.gates
    if gates is None:
        return 0
    breakers: list[Any] = [gates.breaker(name) for name in cell.in_ports]
    return sum(breaker is not None and breaker.state is CircuitState.OPEN for breaker in breakers)
