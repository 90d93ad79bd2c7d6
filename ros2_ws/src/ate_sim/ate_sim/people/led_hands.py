"""Hands and buttons of the emulated devices, led from outside: by keys in a terminal, or a page.

Whoever leads sends, several times a second, how fast each hand moves and which buttons are held;
the hands follow within limits, in front of the headsets that the teleoperation reads. A hand whose
clutch is open goes back to where it rests, so that it never runs out of reach. Silence is a
release: the hands stop, the clutches open, and nothing is held again before it was let go. Only a
trigger stays as it is, as an object must not fall because a terminal was closed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import SIDES, Side
from ate_core.errors import UsageError
from ate_core.geometry import rotation_exp, transform
from ate_core.hands_socket import LEAD
from ate_core.json_text import UNREADABLE
from ate_core.operator_buttons import DEFAULT_BUTTONS
from ate_sim.people.person import CLUTCH, GRIPPER, REST_POSE, STOP, Person

Array = NDArray[np.float64]
GRIP = frozenset({GRIPPER})
ACTIONS = (*DEFAULT_BUTTONS["left"], STOP)
"""What hands may be asked to do beside moving."""


@dataclass(frozen=True, kw_only=True)
class LedHandsConfig:
    """How hands may be led."""

    top_speed: float = 0.25
    """Fastest stroke [m/s]."""
    top_turn: float = 1.0
    """Fastest turn [rad/s]."""
    acceleration: float = 1.0
    """Change of a stroke's speed [m/s^2]."""
    turn_acceleration: float = 4.0
    """Change of a turn's speed [rad/s^2]."""
    reach: float = 0.6
    """Farthest a hand goes from where it rests [m]."""
    silence: float = 0.3
    """Time without a request after which everything is released [s]."""


@dataclass(frozen=True, kw_only=True)
class HandWish:
    """What one hand is to do."""

    linear: Array = field(default_factory=lambda: np.zeros(3))
    """Velocity in the headset's axes: right, forward, up (3,) [m/s]."""
    angular: Array = field(default_factory=lambda: np.zeros(3))
    """Turn about the same axes (3,) [rad/s]."""
    actions: frozenset[str] = frozenset()
    """What goes on as long as it is wanted, one of `ACTIONS` each."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is wanted but to go on holding what is held."""
        return not (self.actions - GRIP or self.linear.any() or self.angular.any())

    def at_rest(self) -> "HandWish":
        """What is left of it when whoever wants it falls silent."""
        return HandWish(actions=self.actions & GRIP)


class LedHands:
    """The hands of both people, in the hands of one leader at a time."""

    def __init__(self, people: Mapping[Side, Person], config: LedHandsConfig) -> None:
        self._people = people
        self._config = config
        self._wishes = {side: HandWish() for side in SIDES}
        self._speeds = {side: (np.zeros(3), np.zeros(3)) for side in SIDES}
        self._leader = ""
        self._heard = -math.inf
        self._is_released = True
        self._now = 0.0

    def handle(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Take one request, and answer with what the people see.

        The request names its ``source``, and for ``left`` and ``right`` what is wanted: ``linear``
        [m/s], ``angular`` [rad/s] and ``actions`` (a list, see `ACTIONS`), each of which may be
        missing. A hand that is not named rests and goes on holding what its gripper holds. The
        answer has ``released`` (whether what is held must be let go first) and each side's
        ``lamps``, ``actions`` (those that go on) and ``hand`` (its position [m]).

        Raises:
            UsageError: another request, bad values, or somebody else leads.
        """
        if request["command"] != LEAD:
            raise UsageError(f"unknown command {request['command']!r}; need {LEAD!r}")
        source = request.get("source")
        if not isinstance(source, str) or not source:
            raise UsageError("the request names no source; give it a text that nobody else has")
        wishes = {
            side: self._wish(side, request[side])
            if side in request
            else self._wishes[side].at_rest()
            for side in SIDES
        }
        if source != self._leader and not self._is_silent():
            raise UsageError(f"the hands are led by {self._leader}: end it first")
        if source != self._leader or self._is_silent():
            self._leader, self._is_released = source, True
        self._heard = self._now
        if all(wish.is_idle for wish in wishes.values()):
            self._is_released = False
        if not self._is_released:
            self._wishes = wishes
        return {
            "released": self._is_released,
            **{
                side: {
                    "lamps": [number for number in range(1, 5) if person.lamp(number)],
                    "actions": sorted(self._wishes[side].actions),
                    "hand": person.hand[:3, 3].tolist(),
                }
                for side, person in self._people.items()
            },
        }

    def tick(self, now: float, dt: float) -> None:
        """Move the hands on to the monotonic time `now`, `dt` after the last time [s]."""
        self._now = now
        if self._is_silent():
            self._wishes = {side: wish.at_rest() for side, wish in self._wishes.items()}
        for side, person in self._people.items():
            wish = self._wishes[side]
            for action in ACTIONS:
                person.hold(action, down=action in wish.actions)
            if CLUTCH in wish.actions:
                self._move(side, person, wish, dt)
            else:
                self._speeds[side] = np.zeros(3), np.zeros(3)
                person.reach(REST_POSE, dt)

    def _move(self, side: Side, person: Person, wish: HandWish, dt: float) -> None:
        config, (linear, angular) = self._config, self._speeds[side]
        linear = _approach(
            linear, _bounded(wish.linear, config.top_speed), config.acceleration * dt
        )
        angular = _approach(
            angular, _bounded(wish.angular, config.top_turn), config.turn_acceleration * dt
        )
        self._speeds[side] = linear, angular
        position = person.hand[:3, 3] + linear * dt
        offset = _bounded(position - REST_POSE[:3, 3], config.reach)
        turned = rotation_exp(angular * dt) @ person.hand[:3, :3]
        person.reach(transform(turned, REST_POSE[:3, 3] + offset), dt)

    def _wish(self, side: Side, values: object) -> HandWish:
        """Read what one hand is to do.

        Raises:
            UsageError: something else than three finite numbers, or an action that there is not.
        """
        if not isinstance(values, Mapping):
            raise UsageError(f"{side} is {values!r}; need an object with linear, angular, actions")
        actions = values.get("actions", [])
        if not isinstance(actions, list) or not all(action in ACTIONS for action in actions):
            raise UsageError(f"{side}.actions is {actions!r}; need a list of {', '.join(ACTIONS)}")
        for action in actions:
            if not self._people[side].can(action):
                raise UsageError(f"the cell gives {action!r} of the {side} arm no button")
        linear, angular = (_vector(side, name, values) for name in ("linear", "angular"))
        return HandWish(linear=linear, angular=angular, actions=frozenset(actions))

    def _is_silent(self) -> bool:
        return self._now - self._heard > self._config.silence


def _vector(side: Side, name: str, values: Mapping[str, Any]) -> Array:
    given = values.get(name, [0.0, 0.0, 0.0])
    try:
        vector = np.array(given, dtype=np.float64)
    except UNREADABLE:
        vector = np.zeros(0)
    if vector.shape != (3,) or not np.isfinite(vector).all():
        raise UsageError(f"{side}.{name} is {given!r}; need three finite numbers")
    return vector


def _bounded(vector: Array, longest: float) -> Array:
    """The vector, or as much of it as is allowed."""
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else vector * (longest / length)


def _approach(value: Array, goal: Array, step: float) -> Array:
    return value + _bounded(goal - value, step)
