"""`ate replay`: a recorded episode played on a running cell, and how far the arms were from it."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ate_core.contract import load_cell
from ate_core.errors import DeviceError, SafetyError, UsageError
from ate_teleop.episode_replay.approach import approach
from ate_teleop.episode_replay.fitness import notes, require_fit
from ate_teleop.episode_replay.plan import plan_of
from ate_teleop.episode_replay.play import TAIL, Played, play, take
from ate_teleop.episode_replay.recorded import read_recorded
from ate_teleop.episode_replay.report import Bounds, Outcome, report

if TYPE_CHECKING:
    from ate_teleop.nodes.episode_player import EpisodePlayer

LOOK = 5.0
"""How long a running cell is looked for [s]."""
INTERRUPTED = "stopped by Ctrl-C"
"""Why a replay ended that its user ended."""
BOUND_MM, BOUND_RMS_MM, BOUND_DEG = 30.0, 10.0, 5.0
"""As of a replay of hands; a root mean square beyond 10 mm would miss a grasp."""


@dataclass(frozen=True, kw_only=True)
class EpisodeReplayConfig:
    """Play a recorded episode on a running cell and tell how far the arms were from it.

    The arms go to the first posture, then all arms and grippers start together. Whatever an
    operator does, an emergency stop, a lost stream or Ctrl-C lets them hold.

    The exit code is 0 where the episode was played to its end within the bounds, 1 where it was
    refused, ended or went another way, 3 where no cell runs.
    """

    episode: Path
    """Folder of a recorded bag, or an HDF5 file of `ate convert`."""
    speed: float = 1.0
    """Seconds of the episode per second, 0.05 to 1."""
    arms: Literal["both", "left", "right"] = "both"
    """Which arms play, each with its gripper."""
    cell: str | None = None
    """cell.yaml, or the name of a packaged cell; None: the packaged one."""
    real: bool = False
    """Move the arms of a real cell. Without it only a simulated one is played on."""
    bound_mm: float = BOUND_MM
    """Largest distance of a tool from its recorded way that passes [mm]."""
    bound_rms_mm: float = BOUND_RMS_MM
    """Largest root mean square of the distance that passes [mm]."""
    bound_deg: float = BOUND_DEG
    """Largest angle of a tool to the recorded one that passes [deg]."""
    bound_opening: float = 1.0
    """Largest distance of a gripper from its recorded opening that passes [ratio]; 1: it is only
    told, for without the objects of the recording a gripper closes further."""
    json: bool = False
    """Print the report as JSON."""

    def __post_init__(self) -> None:
        if not 0.05 <= self.speed <= 1.0:
            raise UsageError(f"--speed is {self.speed:g}; need 0.05 to 1, as fast as recorded")
        for name in ("bound_mm", "bound_rms_mm", "bound_deg", "bound_opening"):
            if not 0.0 < getattr(self, name) < 1e6:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}; need > 0")


def replay(config: EpisodeReplayConfig) -> int:
    """Check, approach, play, compare, print; returns the exit code.

    Raises:
        EpisodeError: the episode cannot be played on this cell.
        NoCellError: no cell runs.
        DeviceError: the cell is another one than was said, or another replay plays on it.
        SafetyError: the arms could not be brought to the first posture.
    """
    from ate_teleop.nodes.episode_player import episode_player

    episode = read_recorded(config.episode)
    cell = load_cell(config.cell, "real" if config.real else "sim")
    sides = tuple(cell.arms) if config.arms == "both" else (config.arms,)
    require_fit(episode.cell, cell, sides, episode.name)
    for note in notes(episode.cell, cell):
        print(f"note: {note}", file=sys.stderr)
    plan = plan_of(cell, episode, sides)
    with episode_player(cell, sides) as player:
        player.find(LOOK)
        _require_body(player, config.real)
        _require(player.watch.start_trouble(time.monotonic()))
        played = Played()
        player.watch.arm()
        try:
            approach(cell, player, {side: way.joints[0] for side, way in plan.ways.items()})
            played.ended = take(player, plan)
            if not played.ended:
                play(player, plan, config.speed, cell.safety.max_step, played)
        except KeyboardInterrupt:
            played.ended = INTERRUPTED
        finally:
            player.watch.disarm()
            player.hold()
            player.spin(lambda: False, TAIL)  # until the arms are told and rest
        outcome = Outcome(
            played=played,
            measured=player.measured,
            openings=player.openings,
            devices=player.watch.devices,
        )
    bounds = Bounds(
        largest_mm=config.bound_mm,
        rms_mm=config.bound_rms_mm,
        largest_deg=config.bound_deg,
        opening=config.bound_opening,
    )
    code = report(cell, episode, outcome, bounds, speed=config.speed, as_json=config.json)
    if played.ended == INTERRUPTED:
        raise KeyboardInterrupt
    return code


def _require_body(player: "EpisodePlayer", is_real: bool) -> None:
    """Refuse to move the arms of another kind of cell than was said.

    Raises:
        DeviceError: it is one.
    """
    watch = player.watch
    if not is_real:
        player.spin(lambda: bool(watch.hardware) or watch.is_simulated, LOOK)
    found = watch.hardware or ("sim" if watch.is_simulated and not is_real else "")
    if found == ("real" if is_real else "sim") or (is_real and not found):
        return
    if found == "sim":
        raise DeviceError("the running cell is a simulated one: leave out --real")
    raise DeviceError(
        "the running cell does not say that it is simulated: a replay moves its arms; --real "
        "says that"
    )


def _require(trouble: str) -> None:
    if trouble:
        raise SafetyError(f"not started: {trouble}")
