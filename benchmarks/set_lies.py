"""Plant what only a set can tell in one of its episodes at a time, and count what the audit finds.

    python -m benchmarks.set_lies                                  # 8 simulated episodes
    python -m benchmarks.set_lies --bags runs/bags                 # recorded ones of one task

Each lie is planted in a copy of each episode in turn; the others stay as they are. It is found
where a rule that compares episodes, or one of the episode's own, speaks. What speaks of the set as
it is, is a false alarm. Episodes recorded without cameras or force sensors have no such lies.
Intervals are Wilson's, 95 %.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import tyro

from benchmarks.audit_defects import DefectsConfig, clean_episodes, wilson
from benchmarks.planted_defects import Plant, moving_side
from training.audit.judge import LEAST_SET, audit_episode, compare
from training.data.bag_reader import BagEpisode

Lie = Callable[[Plant], BagEpisode | None]
"""Plants it in an episode; None where the episode lacks its stream."""


@dataclass(frozen=True, kw_only=True)
class SetConfig:
    """Plant lies in sets of episodes."""

    episodes: int = LEAST_SET
    """Simulated episodes."""
    task: str = "pick_place"
    """Their task."""
    seed: int = 0
    """Seed of the first one."""
    bags: Path | None = None
    """Folder of recorded episodes of one task to plant in instead."""
    only: tuple[str, ...] = ()
    """Lies to plant; all when none is named."""


def _recoded(key: str, change: Callable[[Any], Any]) -> Lie:
    """All pictures of a camera changed; ``key``: of its name, or empty for the moving arm's."""

    def plant_in(plant: Plant) -> BagEpisode | None:
        camera = key or plant.camera
        if camera not in plant.episode.images:
            return None
        images = []
        for data in plant.episode.images[camera]:
            picture = np.ascontiguousarray(change(simplejpeg.decode_jpeg(data, "RGB")))
            images.append(simplejpeg.encode_jpeg(picture, 90, "RGB"))
        return dataclasses.replace(plant.episode, images={**plant.episode.images, camera: images})

    return plant_in


def _values(parts: tuple[str, ...], change: Callable[[Any], Any]) -> Lie:
    """All values of some streams of the moving side changed."""

    def plant_in(plant: Plant) -> BagEpisode | None:
        names = [f"{plant.side}_{part}" for part in parts]
        if not plant.episode.series.keys() >= set(names):
            return None
        series = {name: plant.episode.series[name] for name in names}
        return plant.series(
            {
                name: dataclasses.replace(one, values=change(one.values.copy()))
                for name, one in series.items()
            }
        )

    return plant_in


def _order(columns: tuple[int, ...]) -> Callable[[Any], Any]:
    return lambda values: values[:, columns]


def _joint(values: Any) -> Any:
    values[:, 1] += 0.1
    return values


def _sign(values: Any) -> Any:
    values[:, 2] *= -1.0
    return values


ARM, OPENING, WRENCH = ("arm_state", "arm_command"), ("gripper_state", "gripper_command"), "wrench"
LIES: dict[str, Lie] = {
    "wrist camera mirrored": _recoded("", lambda picture: picture[:, ::-1]),
    "wrist camera upside down": _recoded("", lambda picture: picture[::-1, ::-1]),
    "wrist camera, red and blue exchanged": _recoded("", lambda picture: picture[..., ::-1]),
    "fixed camera mirrored": _recoded("cam_high", lambda picture: picture[:, ::-1]),
    "fixed camera, red and blue exchanged": _recoded("cam_high", lambda p: p[..., ::-1]),
    "forces x and z exchanged": _values((WRENCH,), _order((2, 1, 0, 5, 4, 3))),
    "forces x and y exchanged": _values((WRENCH,), _order((1, 0, 2, 4, 3, 5))),
    "sign of force z": _values((WRENCH,), _sign),
    "opening inverted, in states and commands": _values(OPENING, lambda values: 1.0 - values),
    "zero of a joint by 0.1 rad, in states and commands": _values(ARM, _joint),
    "forces in kg": _values((WRENCH,), lambda values: values / 9.81),
}
"""Lie -> how it is planted."""


def main(config: SetConfig) -> int:
    """Print what was found and what was a false alarm; 1 where there was one."""
    made = DefectsConfig(
        episodes=config.episodes, tasks=(config.task,), seed=config.seed, bags=config.bags
    )
    episodes = list(clean_episodes(made))
    audits = [audit_episode(name, episode) for name, episode in episodes]
    alarms = [f"{one.name}: {rule}" for one in compare(audits) for rule in one.failed]
    count = len(episodes)
    print(f"{len(alarms)} false alarms in {count} episodes {alarms or ''}")
    for lie in config.only or LIES:
        said: Counter[str] = Counter()
        found = tried = 0
        for row, (name, episode) in enumerate(episodes):
            rng = np.random.default_rng((config.seed, row))
            plant = Plant(episode=episode, side=moving_side(episode), start=0.0, rng=rng)
            false = LIES[lie](plant)
            if false is None:
                continue
            tried += 1
            planted = audit_episode(name, false)
            judged = compare([*audits[:row], planted, *audits[row + 1 :]])[row]
            found += bool(judged.failed)
            said.update(
                {one.stream if one.rule == "outlier" else one.rule for one in judged.findings}
            )
        if not tried:
            print(f"{lie:52} not planted: no episode has such a stream")
            continue
        low, high = wilson(found, tried)
        words = ", ".join(f"{what} {times}" for what, times in said.most_common())
        print(f"{lie:52} {found:3} of {tried} ({low:.0%} to {high:.0%})  {words}", flush=True)
    return int(bool(alarms))


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(SetConfig)))
