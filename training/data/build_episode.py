"""One bag's messages on ticks: the rules by which an episode is made of them, or refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ate_core.episode_outcome import DISCARDED, PENDING, SUCCESS
from ate_core.errors import EpisodeError
from ate_core.observation import ObservationBuilder, find_stale
from ate_core.resample import NANOSECONDS, tick_grid, tick_period_ns
from ate_core.streams import StreamSpec
from training.audit.findings import refusals
from training.configs.convert import ConvertConfig
from training.data.bag_images import ChosenImages
from training.data.bag_reader import BagEpisode
from training.data.commanders import commanded_by
from training.data.episode_file import Episode
from training.data.stream_counts import count_streams


def build_episode(
    bag: BagEpisode, config: ConvertConfig, source: str = "", source_sha256: str = ""
) -> Episode:
    """Put a recorded episode on ticks.

    Raises:
        EpisodeError: it ended badly, lacks a stream, has one too old at a tick, or is too short.
    """
    require_outcome(bag.outcome, config)
    builder = ObservationBuilder(bag.cell, config.rules)
    needed = _needed_streams(builder, bag)
    refused = refusals(bag)
    if refused:
        more = f" (and {len(refused) - 1} more: `ate audit`)" if len(refused) > 1 else ""
        raise EpisodeError(f"{refused[0]}{more}")
    ticks = episode_ticks(bag, needed, config)
    refusal = find_stale(bag.series, needed, ticks, config.limits(), config.rules)
    if refusal is not None:
        raise EpisodeError(str(refusal))
    period_ns = tick_period_ns(bag.cell.tick_rate)
    environment = builder.environment(bag.series, ticks)
    names = tuple(bag.scene.get("objects", ()))
    if environment is not None and names and len(names) != environment.shape[1]:
        raise EpisodeError(
            f"{environment.shape[1]} object poses but {len(names)} names in /scene/info; "
            "the scene's publisher must give both from one task"
        )
    return Episode(
        state=builder.state(bag.series, ticks),
        velocity=builder.velocity(bag.series, ticks),
        wrench=builder.wrench(bag.series, ticks),
        action=builder.action(bag.series, ticks, period_ns),
        timestamps_ns=ticks,
        commanded_by=commanded_by(bag.cell, bag.series, bag.commanders, ticks, period_ns),
        environment=environment,
        images={
            key: ChosenImages(bag.images[key], index)
            for key, index in builder.image_index(bag.series, ticks).items()
        },
        cell=bag.cell,
        task=str(bag.info.get("task") or bag.scene.get("task", "")),
        instruction=str(bag.info.get("instruction", "")),
        operator=str(bag.info.get("operator", "")),
        seed=_seed(bag),
        object_names=names,
        outcome=str(bag.outcome["outcome"]),
        source=source,
        source_sha256=source_sha256,
        streams=count_streams(bag),
        ages=builder.ages(bag.series, ticks, period_ns),
        rules=dataclasses.asdict(config.rules),
        clock=bag.outcome.get("clock", {}),
    )


def episode_ticks(
    bag: BagEpisode, needed: list[StreamSpec], config: ConvertConfig
) -> NDArray[np.int64]:
    """Return the ticks of an episode, shape (T,) [ns].

    The first is the moment at which every needed stream has a sample. The last has one period
    left before the end of the measured streams, where its action is in force.
    """
    missing = [spec for spec in needed if spec.name not in bag.series]
    if missing:
        raise EpisodeError(f"no message on {missing[0].topic}, which the episode needs")
    latest = max(needed, key=lambda spec: int(bag.series[spec.name].stamps_ns[0]))
    start_ns = int(bag.series[latest.name].stamps_ns[0])
    late = (start_ns - int(bag.info["start_ns"])) / NANOSECONDS
    if late > config.max_late_start:
        bound = f"bound {config.max_late_start:.1f} s"
        raise EpisodeError(f"{latest.topic} begins {late:.1f} s after the episode ({bound})")
    end_ns = max(int(bag.series[spec.name].stamps_ns[-1]) for spec in needed)
    ticks = tick_grid(start_ns, end_ns, tick_period_ns(bag.cell.tick_rate))[:-1]
    seconds = len(ticks) / bag.cell.tick_rate
    if seconds < config.min_seconds or not len(ticks):
        raise EpisodeError(f"too short: {seconds:.2f} s (bound {config.min_seconds:.2f} s)")
    return ticks


def require_outcome(told: Mapping[str, Any], config: ConvertConfig) -> None:
    """Refuse an episode by what became of it.

    Args:
        told: Its outcome, with the reason.
        config: Whether failures are kept.

    Raises:
        EpisodeError: it is neither a success nor kept.
    """
    outcome = told.get("outcome")
    if outcome == PENDING:
        raise EpisodeError("nobody has judged it: keep it with `ate episode label`, or discard it")
    if outcome == SUCCESS or (config.keep_failures and outcome != DISCARDED):
        return
    reason = f" ({told['reason']})" if told.get("reason") else ""
    raise EpisodeError(f"outcome is {outcome}{reason}; --keep-failures keeps such episodes")


def _seed(bag: BagEpisode) -> int:
    """Return the seed given to the recorder, else that of the simulated scene, else -1."""
    given = int(bag.info.get("seed", -1))
    of_scene = bag.scene.get("seed")
    return of_scene if given < 0 and isinstance(of_scene, int) else given


def _needed_streams(builder: ObservationBuilder, bag: BagEpisode) -> list[StreamSpec]:
    """Return what the recorder required, and every camera and the objects where recorded."""
    required = set(bag.info.get("required", []))
    optional = {*builder.cameras, "objects"} & set(bag.series)
    always = {f"{side}_{part}_state" for side in builder.sides for part in ("arm", "gripper")}
    always |= {f"{side}_wrench" for side in builder.sides}
    wanted = required | optional | always
    return [spec for spec in builder.streams.values() if spec.name in wanted]
