"""Whether a report can be true: known codes, a possible motion, and motion where it must be."""

from dataclasses import dataclass

from omnipicker_driver.protocol import FULL_SCALE, MAX_SPEED, Fault, Motion, Report

JUMP_MARGIN = 12 / FULL_SCALE
"""Change of position that is possible in no time [ratio]: two reports may come close together."""
SPEED_MARGIN = 2.0
"""How much faster than the product data fingers may be."""
AGREEING = 3
"""Reports in a row, each possible after the one before, until a new position is believed."""
FAR = 0.1
"""Distance to the target from which the fingers must move [ratio]."""
LONGEST_PAUSE = 0.8
"""Time without the least motion towards a target that is far [s]."""
LONGEST_GAP = 0.04
"""Of the time between two reports so much counts [s]: while nobody asks, nothing can be seen."""
PUSHING = 0.1
"""Share of the grip force from which fingers that close push on something."""


@dataclass(kw_only=True)
class ReportChecker:
    """Judges the reports of one gripper, in order."""

    speed: float
    """Share of the largest speed at which the gripper is asked to move."""

    def __post_init__(self) -> None:
        self.is_frozen = False
        self._good: tuple[float, Report] | None = None
        self._doubted: tuple[float, Report] | None = None
        self._agreeing = 0
        self._still_for = 0.0
        self._looked: float | None = None
        self._still_at = 0.0

    def doubt(self, report: Report, target: float | None, now: float) -> str:
        """Why a report is not believed; empty when it is.

        Args:
            report: what came.
            target: opening that the gripper was asked for; None: nothing yet.
            now: present monotonic time [s].
        """
        problem = _unknown(report) or self._jump(report, now)
        self.is_frozen = False
        if not problem:
            problem = self._frozen(report, target, now)
            self.is_frozen = bool(problem)
        if not problem:
            self._good, self._doubted = (now, report), None
        return problem

    def clear(self) -> None:
        """Forget everything; after a new link."""
        self.__post_init__()

    def _jump(self, report: Report, now: float) -> str:
        if self._good is None or _possible(self._good, report, now):
            return ""
        agrees = self._doubted is not None and _possible(self._doubted, report, now)
        self._agreeing = self._agreeing + 1 if agrees else 1
        self._doubted = (now, report)
        if self._agreeing >= AGREEING:
            return ""
        since, before = self._good
        return (
            f"position jumped from {before.position:.2f} to {report.position:.2f} within "
            f"{(now - since) * 1e3:.0f} ms; the fingers move at most {MAX_SPEED:.1f} a second"
        )

    def _frozen(self, report: Report, target: float | None, now: float) -> str:
        pushes = target is not None and target < report.position and report.force > PUSHING
        must_move = (
            target is not None
            and abs(target - report.position) > FAR
            and not pushes
            and report.motion != Motion.BLOCKED
            and report.fault == Fault.NONE
        )
        if not must_move:
            self._looked = None
            return ""
        if self._looked is None or report.position != self._still_at:
            self._still_for, self._still_at, self._looked = 0.0, report.position, now
        self._still_for += min(max(now - self._looked, 0.0), LONGEST_GAP)
        self._looked = now
        if self._still_for <= LONGEST_PAUSE + 2 / (self.speed * MAX_SPEED * FULL_SCALE):
            return ""
        return (
            f"position stays at {report.position:.2f} for {self._still_for:.1f} s although "
            f"{target:.2f} is asked for and nothing is reported to block the fingers"
        )


def _unknown(report: Report) -> str:
    if report.fault not in set(Fault):
        return f"fault code {report.fault} is unknown; known are 0 to {max(Fault)}"
    if report.motion not in set(Motion):
        return f"state code {report.motion} is unknown; known are 0 to {max(Motion)}"
    return ""


def _possible(before: tuple[float, Report], report: Report, now: float) -> bool:
    reach = JUMP_MARGIN + SPEED_MARGIN * MAX_SPEED * max(now - before[0], 0.0)
    return abs(report.position - before[1].position) <= reach
