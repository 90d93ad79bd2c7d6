"""What is heard of a cell while an episode is played on it, and what ends the replay. No ROS."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ate_core.json_text import Document, plain_text
from ate_core.takeover import Takeover

Array = NDArray[np.float64]

COMMANDER = "replay"
"""Name of all replays as commanders."""
TRAJECTORY = "trajectory"
"""Name under which an arm's driver follows the way to the first posture."""
UNFIT = frozenset({"stopped", "fault", "not_ready", "disconnected", "homing"})
"""States in which a device follows no replay; a person or the device ends them."""
LOST = {"arm": 0.4, "gripper": 1.0}
"""Silence of the measured joints that ends a replay [s]; less than an arm's lease."""


@dataclass(kw_only=True, eq=False)
class Device:
    """An arm or a gripper."""

    name: str
    """For people, as ``left arm``."""
    kind: str
    """``arm`` or ``gripper``."""
    position: Array | None = None
    """Newest measured joints [rad] or opening ratio."""
    heard: float = -np.inf
    """When that came [s]."""
    status: Document = field(default_factory=dict)
    """Newest status; empty before the first."""
    holds: int = 0
    """How often it held although it was commanded."""
    refusals: list[str] = field(default_factory=list)
    """Why commands of the replay were refused."""

    def text(self, key: str) -> str:
        """An entry of the status as text; empty where there is none."""
        return plain_text(self.status.get(key) or "")

    def trouble(self, now: float, holder: str) -> str:
        """Why it cannot be driven; empty when it can.

        Args:
            now: present time [s].
            holder: who may hold it.
        """
        if not self.status:
            return f"{self.name} tells no status: start its driver"
        state, commander = self.text("state"), self.text("commander")
        if state in UNFIT:
            return f"{self.name} is {state} {self.text('reason')}".rstrip()
        if now - self.heard > LOST[self.kind]:
            return f"nothing was heard of where the {self.name} is for {LOST[self.kind]:g} s"
        if commander not in ("", holder):
            return f"{self.name} is held by {commander}: let it go, for half a second at least"
        return ""


class CellWatch:
    """Devices of the sides that are played, and the stop. Time is an argument."""

    def __init__(self, arms: Sequence[str], grippers: Sequence[str]) -> None:
        """Hear nothing yet.

        Args:
            arms: sides of the arms.
            grippers: sides of the grippers.
        """
        self.arms = {side: Device(name=f"{side} arm", kind="arm") for side in arms}
        self.grippers = {side: Device(name=f"{side} gripper", kind="gripper") for side in grippers}
        self.stop = ""
        """Why the cell is stopped; empty while it is not."""
        self.hardware = ""
        """``real`` or ``sim`` as an operator told; empty: none did."""
        self.is_simulated = False
        """Whether a simulated world tells of its objects."""
        self._armed = False
        self._action = ""
        self._buttons: dict[str, tuple[int, ...]] = {}
        self._takeovers: dict[str, Takeover] = {}

    @property
    def devices(self) -> list[Device]:
        """Arms and grippers."""
        return [*self.arms.values(), *self.grippers.values()]

    def arm(self) -> None:
        """From now on whatever an operator does ends the replay, and holds are counted."""
        self._armed, self._action = True, ""

    def disarm(self) -> None:
        """The replay is over: what arms and operators do now is their own."""
        self._armed = False

    def trouble(self, now: float, holders: Sequence[str] = (COMMANDER,)) -> str:
        """What ends a replay; empty when nothing does.

        Args:
            now: present time [s].
            holders: who may hold an arm at this moment, the first also a gripper.
        """
        if self.stop:
            return f"emergency stop: {self.stop}; reset it with `ate stop --reset`"
        if self._action:
            return self._action
        for device in self.devices:
            allowed = holders if device.kind == "arm" else holders[:1]
            commander = device.text("commander")
            holder = commander if commander in allowed else ""
            if trouble := device.trouble(now, holder):
                return trouble
        return ""

    def start_trouble(self, now: float) -> str:
        """What forbids a start; another replay that holds an arm would pass for this one."""
        takeovers = self._takeovers.items()
        held = (f"the {side} operator {one.held}" for side, one in takeovers if one.held)
        return self.trouble(now, ()) or next(held, "")

    def take_position(self, device: Device, position: Array, now: float) -> None:
        """Note where a device is."""
        device.position, device.heard = position, now

    def take_status(self, device: Device, status: Document) -> None:
        """Note what a device tells of itself."""
        before, device.status = device.status, status
        held = status.get("state") == "holding" and before.get("state") == "tracking"
        device.holds += bool(self._armed and held and device.text("commander") == COMMANDER)
        refused = device.text("refused")
        if not refused or refused == plain_text(before.get("refused") or ""):
            return
        who, _, why = refused.partition(": ")
        if who == COMMANDER:
            if self._armed:
                device.refusals.append(why)
        else:
            self._act(f"{who} wanted the {device.name}")

    def take_operator(self, side: str, status: Document) -> None:
        """Note what an operator's node tells of him."""
        self.hardware = plain_text(status.get("hardware") or self.hardware)
        takeover = self._takeovers.setdefault(side, Takeover())
        act = takeover.take(status)
        if took := act or takeover.held:
            self._act(f"the {side} operator {took}")

    def take_buttons(self, side: str, buttons: Sequence[int]) -> None:
        """Note what an operator presses."""
        now = tuple(buttons)
        before = self._buttons.get(side, now)
        self._buttons[side] = now
        if any(new and not old for new, old in zip(now, before, strict=False)):
            self._act(f"the {side} operator pressed a button")

    def _act(self, what: str) -> None:
        if self._armed and not self._action:
            self._action = f"ended by an operator: {what}"
