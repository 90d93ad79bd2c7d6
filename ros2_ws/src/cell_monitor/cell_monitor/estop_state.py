"""The emergency stop of a cell: when it begins, who takes it over, when it may end. No ROS.

Every arm latches a stop by itself; what is kept here is the state that everybody is told, and the
rule that a stop ends only by a deliberate reset of arms that are at rest.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ate_core.json_text import UNREADABLE, plain_text

REST_SPEED = 0.02
"""Joint speed up to which an arm counts as at rest; measured speeds jitter below it [rad/s]."""
SETTLING = 1.0
"""Time after a reset in which arms may still report the stop that was reset [s]."""
SPEED_AGE = 0.5
"""Age above which a measured speed says nothing about the present [s]."""
UNLINKED = "disconnected"
"""State of an arm whose driver has no link to it: our software cannot move it."""


@dataclass(frozen=True, kw_only=True)
class ArmReport:
    """What the status of an arm says."""

    state: str
    """State of the driver, as in docs/topics.md."""
    reason: str
    """Why the arm does not follow."""
    stopped: bool
    """Whether the arm has latched the emergency stop."""


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What one arm said to the stop."""

    driver: bool
    """Whether a driver of the arm runs."""
    seconds: float | None
    """Time until the arm reported the stop [s]; None: it did not."""
    state: str
    """State that the driver reported last."""


def parse_report(text: str) -> ArmReport | None:
    """An arm's status (JSON) as far as the stop is concerned; None when it is not readable."""
    try:
        status = json.loads(text)
        return ArmReport(
            state=plain_text(status["state"]),
            reason=plain_text(status.get("reason", "")),
            stopped=bool(status.get("estop", False)),
        )
    except UNREADABLE:
        return None


class EstopState:
    """State of the cell's emergency stop. Time is an argument: monotonic seconds."""

    def __init__(self, instance: str, arms: Sequence[str]) -> None:
        """Begin without a stop.

        Args:
            instance: name of this run of the e-stop node; a reset counts only within one.
            arms: sides of the cell.
        """
        self._instance = instance
        self._reports: dict[str, ArmReport | None] = dict.fromkeys(arms)
        self._speeds: dict[str, tuple[float, float]] = {}
        self._resets = 0
        self._reset_at = float("-inf")
        self.reason = ""
        """Why the cell is stopped; empty while it is not."""

    def stop(self, reason: str) -> bool:
        """Stop the cell; True when it was not stopped before."""
        if self.reason:
            return False
        self.reason = plain_text(reason) or "somebody asked for it without a reason"
        return True

    def take_report(self, side: str, report: ArmReport) -> None:
        """Keep the newest status of an arm."""
        self._reports[side] = report

    def take_speed(self, side: str, speed: float, now: float) -> None:
        """Keep the largest measured joint speed of an arm [rad/s]."""
        self._speeds[side] = (speed, now)

    def knows(self, side: str) -> bool:
        """Whether the driver of an arm has said how it stands."""
        return self._reports[side] is not None

    def forget(self, side: str) -> None:
        """The driver of an arm has gone, and with it all that it said."""
        self._reports[side] = None
        self._speeds.pop(side, None)

    def take_over(self, now: float) -> bool:
        """Stop the cell when an arm reports a stop that is not known here; True when it was so."""
        if self.reason or now - self._reset_at < SETTLING:
            return False
        for side, report in self._reports.items():
            if report is not None and report.stopped:
                why = report.reason or "no reason given"
                return self.stop(f"{side} arm is stopped already ({why}); taken over")
        return False

    def obstacle(self, now: float) -> str:
        """Why the stop must not be reset now; empty when it may be."""
        for side, report in self._reports.items():
            speed, taken = self._speeds.get(side, (0.0, float("-inf")))
            is_known = now - taken <= SPEED_AGE
            if is_known and not speed <= REST_SPEED:  # NaN is no rest
                return (
                    f"{side} arm still moves at {speed:.2f} rad/s; need {REST_SPEED} rad/s or "
                    "less: wait until it rests, then reset again"
                )
            if report is None or report.state == UNLINKED:
                continue  # nobody drives it, so nothing of ours can move it
            if not is_known:
                return (
                    f"{side} arm does not report its joints (state {report.state}): wait for its "
                    "driver or restart it, then reset again"
                )
        return ""

    def reset(self, now: float) -> str:
        """End the stop; returns why not, or an empty text.

        Without a stop known here the reset counts all the same: it ends what others have latched
        alone, and asks nothing of the arms.
        """
        self.take_over(now)  # of arms that were stopped before this node began
        obstacle = self.obstacle(now) if self.reason else ""
        if not obstacle:
            self.reason = ""
            self._resets += 1
            self._reset_at = now
        return obstacle

    def notes(self) -> list[str]:
        """What a person should know who has just reset."""
        notes = []
        for side, report in self._reports.items():
            if report is None:
                notes.append(f"{side} arm: no driver runs")
            elif report.state in (UNLINKED, "fault", "stopped", "not_ready"):
                notes.append(f"{side} arm: {report.state} {report.reason}".rstrip())
        return notes

    def document(self, stamp_ns: int) -> str:
        """The state as everybody is told it (JSON).

        Args:
            stamp_ns: wall-clock time at which it is told [ns]; one of another time resets nothing.
        """
        following = (
            "remove the cause, then `ate stop --reset` or the service /estop/reset"
            if self.reason
            else "nothing is stopped; arms move only after a new act: clutch, /policy/start, home"
        )
        arms = {
            side: "no driver" if report is None else "stopped" if report.stopped else "not stopped"
            for side, report in self._reports.items()
        }
        return json.dumps(
            {
                "stopped": bool(self.reason),
                "reason": self.reason,
                "instance": self._instance,
                "resets": self._resets,
                "stamp_ns": stamp_ns,
                "arms": arms,
                "next": following,
            }
        )
