"""How often the drivers' comparison of two arms speaks, right and wrong, in recorded episodes.

    python -m benchmarks.exchanged_arms runs/demo/episodes

Commands and measured joints of each tick go through the comparison with which drivers and policy
look for exchanged arms: once as recorded, where it must say nothing, and once with what both arms
did exchanged. Drivers compare what they sent behind the safety filter, which an arm follows more
closely than the commands that are recorded. The exit code is 1 where it spoke wrongly.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from ate_core.contract import parse_cell_text
from ate_core.errors import UsageError
from ate_core.exchanged import CLEAR, Answers
from training.data.trajectory import Trajectory, read_trajectories

Array = NDArray[np.float64]
Rows = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare both arms of recorded episodes."""

    episodes: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of HDF5 episodes of two arms."""

    def __post_init__(self) -> None:
        if not self.episodes:
            raise UsageError("there are no episodes: give their folders")


@dataclass(frozen=True, kw_only=True)
class Count:
    """Of one folder."""

    episodes: int
    """Episodes."""
    ticks: int
    """Ticks of them."""
    false_alarms: int
    """Times that it spoke of arms that are not exchanged."""
    told: int
    """Episodes in which it spoke of exchanged ones."""
    latest: int
    """Most ticks from the first motion until it spoke."""


def count(trajectories: list[Trajectory]) -> Count:
    """Compare all episodes, as they are and exchanged."""
    false, delays = 0, []
    for one in trajectories:
        false += len(spoken(one, exchanged=False))
        if when := spoken(one, exchanged=True):
            delays.append(when[0] - first_motion(one))
    return Count(
        episodes=len(trajectories),
        ticks=sum(len(one.action) for one in trajectories),
        false_alarms=false,
        told=len(delays),
        latest=max(delays, default=0),
    )


def spoken(one: Trajectory, *, exchanged: bool) -> list[int]:
    """Ticks at which exchanged arms are told; it begins anew after each."""
    answers, found = Answers(), []
    told, did = joints(one, one.action), joints(one, one.state)
    if exchanged:
        did = dict(zip(did, reversed(did.values()), strict=True))
    for tick in range(len(one.action)):
        now = [{side: rows[tick] for side, rows in arms.items()} for arms in (told, did)]
        if answers.note(tick, *now):
            answers.reset()
            found.append(tick)
    return found


def first_motion(one: Trajectory) -> int:
    """Tick at which a command is first `CLEAR` from where it began; 0: none is."""
    rows = joints(one, one.action).values()
    far = np.max([np.abs(row - row[0]).max(axis=1) for row in rows], axis=0) > CLEAR
    return int(far.argmax())


def joints(one: Trajectory, rows: Rows) -> dict[str, Array]:
    """Joints (T, n) of both arms in rows of actions or states (T, D) [rad]."""
    cell = parse_cell_text(one.contract)
    columns = {side: cell.layout.action.slice(f"{side}_arm") for side in cell.arms}
    return {side: rows[:, where].astype(np.float64) for side, where in columns.items()}


def main(options: Options) -> int:
    """Print a line per folder."""
    wrong = 0
    for folder in options.episodes:
        found = count(read_trajectories(folder))
        wrong += found.false_alarms
        print(
            f"{folder}: {found.episodes} episodes, {found.ticks} ticks: {found.false_alarms} "
            f"false alarms; exchanged, told in {found.told}, at most {found.latest} ticks after "
            "the first motion"
        )
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options, description=__doc__)))
