"""What a replay sends: postures and openings over the time of the episode."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_teleop.episode_replay.approach import within_limits
from ate_teleop.episode_replay.played_path import check_path, played_path
from ate_teleop.episode_replay.recorded import RecordedEpisode
from ate_teleop.stroke_comparison import JointPath

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be sent."""

    seconds: float
    """Length in the time of the episode [s]."""
    ways: dict[str, JointPath]
    """Postures by side."""
    openings: dict[str, JointPath]
    """Openings by side."""

    def at(self, elapsed: float) -> tuple[dict[str, Array], dict[str, float]]:
        """Postures [rad] and openings [ratio] at a time of the episode [s]."""
        now = np.array([elapsed])
        arms = {side: way.at(now)[0] for side, way in self.ways.items()}
        openings = {}
        for side, one in self.openings.items():
            index = max(int(np.searchsorted(one.times, elapsed, side="right")) - 1, 0)
            openings[side] = float(np.clip(one.joints[index, 0], 0.0, 1.0))
        return arms, openings


def plan_of(cell: Cell, episode: RecordedEpisode, sides: tuple[str, ...]) -> Plan:
    """The ways of some sides, checked, from the first moment that all of them are known.

    Raises:
        EpisodeError: one of them cannot be gone.
    """
    ways, openings = {}, {}
    for side in sides:
        ways[side] = played_path(episode.sides[side])
        check_path(cell, side, ways[side])
        start = ways[side].at(np.zeros(1))[0]
        start = within_limits(cell.arms[side], cell.safety.position_margin, side, start)
        keep = ways[side].times > 0.0
        ways[side] = JointPath(
            times=np.concatenate([[0.0], ways[side].times[keep]]),
            joints=np.concatenate([[start], ways[side].joints[keep]]),
        )
        opening = episode.sides[side].opening
        if opening is not None and side in cell.grippers:
            openings[side] = opening
    seconds = min(float(way.times[-1]) for way in ways.values())
    return Plan(seconds=seconds, ways=ways, openings=openings)
