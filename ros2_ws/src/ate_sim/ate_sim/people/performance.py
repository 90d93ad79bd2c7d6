"""Playing a plan with hands: squeeze the clutches, move, grasp, and pick up again what slipped."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Side
from ate_core.geometry import inverse
from ate_core.hand_mapping import HandMapping, hand_pose_for_tool_motion
from ate_sim.people.mistakes import Slip
from ate_sim.people.person import CLUTCH, GRIPPER, Person, squeezing
from ate_sim.people.plan_clock import PlanClock, PlanClockConfig
from ate_sim.people.script import EpisodeFailed, Script, pause, wait_for
from ate_sim.people.view import WorldView

LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]

CLUTCH_LAMP = 2
FINGERS_CLOSED = 0.05
FINGERS_OPEN = 0.9


@dataclass(frozen=True, kw_only=True)
class PerformanceConfig:
    """Deadlines and habits while an arm is being moved."""

    lamp_timeout: float = 3.0
    """For the clutch lamp to follow its button [s]."""
    regrips: int = 3
    """How often people squeeze a clutch again that let go on its own."""
    regrip_pause: float = 0.6
    """How long they release it before [s]; after less an arm may ask for silence first."""
    timeout: float = 90.0
    """For the whole motion [s]."""
    clock: PlanClockConfig = field(default_factory=PlanClockConfig)
    """When people wait for the robot."""


class PlannedMotion(Protocol):
    """What the people want to do."""

    duration: float

    def tool_target(self, side: Side, time: float) -> tuple[Array, float]:
        """Return transform_tool_to_world (4, 4) and the gripper opening at plan time [s]."""


class Performance:
    """One plan, played once by those people who have something to do in it."""

    def __init__(
        self,
        config: PerformanceConfig,
        people: Mapping[Side, Person],
        mappings: Mapping[Side, HandMapping],
        view: WorldView,
        plan: PlannedMotion,
        slips: Sequence[Slip] = (),
    ) -> None:
        self._config = config
        self._people = {side: person for side, person in people.items() if has_work(plan, side)}
        self._mappings = mappings
        self._view = view
        self._plan = plan
        self._starts: dict[Side, tuple[Array, Array]] = {}
        self._clock = PlanClock(config.clock)
        self._fingers_under_way: set[Side] = set()
        self._everybody = people
        self._slips = list(slips)
        self.slipped: list[str] = []
        """What went wrong so far."""
        self.regrips = 0
        """How often a clutch had to be squeezed again."""

    def engage(self) -> Script[None]:
        """Squeeze the clutches and note where hands and tools are when the lamps answer."""
        for person in self._people.values():
            person.hold(CLUTCH)
        for side, person in self._people.items():
            yield from wait_for(
                f"clutch lamp of the {side} operator",
                squeezing(person, CLUTCH_LAMP),
                self._config.lamp_timeout,
            )
            self._starts[side] = (person.hand.copy(), self._view.tool(side))

    def play(self) -> Script[None]:
        """Go through the plan.

        Raises:
            EpisodeFailed: It took too long, or a clutch let go too often.
            EpisodeSpoiled: Somebody did something that cannot be mended.
        """
        started = last = yield
        while self._clock.time < self._plan.duration:
            now = yield
            if now - started > self._config.timeout:
                raise EpisodeFailed(f"motion: not done within {self._config.timeout:g} s")
            if (slip := self._next_slip()) is not None:
                yield from self._slip(slip)
                last = yield
                continue
            lost = [side for side, person in self._people.items() if not person.lamp(CLUTCH_LAMP)]
            if lost:
                yield from self._regrip(lost)
                last = yield
                continue
            dt, last = now - last, now
            self._advance(dt)
            for side, person in self._people.items():
                tool, opening = self._plan.tool_target(side, self._clock.time)
                person.reach(self._hand_for(side, tool), dt)
                if person.hold(GRIPPER, opening < 0.5):
                    self._fingers_under_way.add(side)

    def _next_slip(self) -> Slip | None:
        """What goes wrong now."""
        share = self._clock.time / self._plan.duration
        for slip in self._slips:
            if slip.share <= share and slip.is_due(self._everybody):
                return slip
        return None

    def _slip(self, slip: Slip) -> Script[None]:
        self._slips.remove(slip)
        self.slipped.append(slip.name)
        LOG.info("slip: %s", slip.name)
        yield from slip.act(self._everybody)

    def _regrip(self, sides: list[Side]) -> Script[None]:
        self.regrips += 1
        LOG.info("clutch of the %s operator let go: squeezing again", " and ".join(sides))
        if self.regrips > self._config.regrips:
            raise EpisodeFailed(f"clutch of the {sides[0]} operator lets go again and again")
        for side in sides:
            self._people[side].hold(CLUTCH, down=False)
        yield from pause(self._config.regrip_pause)
        yield from self.engage()

    def _advance(self, dt: float) -> None:
        lag, switching = 0.0, False
        moving: set[Side] = set()
        for side in self._people:
            tool, opening = self._plan.tool_target(side, self._clock.time)
            next_tool, next_opening = self._plan.tool_target(side, self._clock.time + dt)
            lag = max(lag, float(np.linalg.norm(self._view.tool(side)[:3, 3] - tool[:3, 3])))
            switching |= (opening < 0.5) != (next_opening < 0.5)
            if self._fingers_done(side, opening):
                self._fingers_under_way.discard(side)
            if not np.array_equal(tool, next_tool):
                moving.add(side)
        waited_for = self._fingers_under_way if switching else self._fingers_under_way & moving
        self._clock.advance(dt, lag, switching, bool(waited_for))

    def _fingers_done(self, side: Side, opening: float) -> bool:
        """Whether the fingers have done what the trigger says: opened, closed, or on an object."""
        if opening < 0.5:
            return self._view.blocked(side) or self._view.opening(side) < FINGERS_CLOSED
        return self._view.opening(side) > FINGERS_OPEN

    def _hand_for(self, side: Side, tool: Array) -> Array:
        hand_start, tool_start = self._starts[side]
        world_to_base = inverse(self._view.base(side))
        return hand_pose_for_tool_motion(
            self._mappings[side], hand_start, world_to_base @ tool_start, world_to_base @ tool
        )


def has_work(plan: PlannedMotion, side: Side) -> bool:
    """Whether the plan moves this side's tool or fingers at all."""
    tool, opening = plan.tool_target(side, 0.0)
    for time in np.linspace(0.0, plan.duration, 50):
        later, later_opening = plan.tool_target(side, float(time))
        if abs(later_opening - opening) > 0.1 or np.abs(later - tool).max() > 0.005:
            return True
    return False
