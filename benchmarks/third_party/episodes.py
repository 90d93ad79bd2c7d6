"""Demonstrations of a third-party simulator as HDF5 episodes, with the contract of their robot."""

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import EpisodeError, LayoutError
from ate_core.resample import tick_period_ns
from training.data.episode_file import Episode, write_episode

ROBOTS = Path(__file__).parent / "robots"
"""Contracts of the robots, by name."""


def load_robot(name: str) -> Cell:
    """Read the contract of a simulated robot."""
    cell = parse_cell_text((ROBOTS / f"{name}.yaml").read_text(), where=f"{name}.yaml")
    return dataclasses.replace(cell, hardware="sim")


def require_robot(cell: Cell, robot: Mapping[str, Any], what: str) -> None:
    """Refuse a simulator whose joints or rate are not those of the contract.

    Args:
        cell: The contract of an episode or a policy.
        robot: What the simulator says of itself, see `play.describe`.
        what: Whose contract it is, for the message.
    """
    joints = {side: list(arm.joint_names) for side, arm in cell.arms.items()}
    for name, ours in (("joints", joints), ("tick_rate", cell.tick_rate)):
        theirs = robot.get(name)
        if theirs != ours:
            raise LayoutError(
                f"{what} is for {name} {ours}, the simulator has {theirs}: use the robot it was "
                "made for"
            )


def convert(source: Path, output: Path, cell: Cell, instruction: str) -> int:
    """Convert every demonstration of a folder.

    Returns:
        Their number.
    """
    paths = sorted(source.glob("episode_*.npz"))
    if not paths:
        raise EpisodeError(f"{source} holds no episode_*.npz: collect demonstrations first")
    for path in paths:
        write_episode(output / f"{path.stem}.hdf5", read_demonstration(path, cell, instruction))
    return len(paths)


def read_demonstration(path: Path, cell: Cell, instruction: str) -> Episode:
    """Read one file of `play.collect`; no pickles are opened."""
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            names = ("state", "velocity", "environment", "action")
            arrays = {name: file[name].astype(np.float32) for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise EpisodeError(f"{path} cannot be read ({reason}): collect it again") from None
    require_robot(cell, about, f"contract {cell.name}")
    ticks = len(arrays["action"])
    return Episode(
        **arrays,
        # These simulators are not asked for forces.
        wrench=np.zeros((ticks, 6 * len(cell.arms)), np.float32),
        timestamps_ns=np.arange(ticks, dtype=np.int64) * tick_period_ns(cell.tick_rate),
        cell=cell,
        task=about["task"],
        instruction=instruction,
        operator="scripted",
        seed=about["seed"],
        object_names=tuple(about["objects"]),
        source=path.name,
        source_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
