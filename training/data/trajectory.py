"""One demonstration as training sees it: read from an episode, cut, and checked."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ate_core.contract import parse_cell_text
from ate_core.errors import EpisodeError, LayoutError, TrainingError
from ate_core.layout import Layout
from ate_core.trained_for import mixed
from ate_policy.models.interface import PolicyConfig
from ate_policy.transforms import OBJECT_FEATURES
from training.audit.gate import OPEN, Gate
from training.audit.stored import Reports, StoredAudit, read_reports
from training.data.commanders import OPERATOR
from training.data.episode_file import Episode, list_episodes, read_episode, read_own_outcome
from training.data.first_motion import first_motion
from training.data.moments import Moments
from training.data.summaries import read_summary

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One demonstration on ticks."""

    name: str
    """Where it came from, for messages."""
    state: np.ndarray
    """(T, S) measured."""
    action: np.ndarray
    """(T, D) commanded; row k is in force at tick k+1."""
    commanded_by: np.ndarray | None = None
    """(T, arms) who gave the action, see `training.data.commanders`; None: an operator."""
    environment: np.ndarray | None = None
    """(T, n, 7) object poses, or None."""
    object_names: tuple[str, ...] = ()
    """Of the n objects, in their order; empty: not known."""
    images: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    """JPEGs by camera key; may be read on access."""
    first_image: int = 0
    """Index of the image that belongs to row 0."""
    contract: str
    """Canonical text of the cell."""
    task: str = ""
    """Name of the task."""
    instruction: str = ""
    """What was to be done, in words."""
    seed: int = -1
    """Seed of its start in the simulated cell; -1: none."""
    source: str = ""
    """Of which recording it is, see `training.data.provenance`; empty: not known."""
    moments: Mapping[str, tuple[Moments, ...]] = field(default_factory=dict)
    """Those of ``state``, ``action`` and ``environment`` that are known already."""

    @property
    def commanders(self) -> np.ndarray:
        """(T, arms) who gave the action."""
        if self.commanded_by is not None:
            return self.commanded_by
        return np.full((len(self.action), 1), OPERATOR, dtype=np.uint8)


def read_trajectories(
    folder: Path, limit: int | None = None, gate: Gate = OPEN
) -> list[Trajectory]:
    """Read the successful HDF5 episodes of a folder that pass a gate, in order of their names.

    Args:
        folder: Of the episodes.
        limit: The first so many of them; None: all.
        gate: What their audits must say.

    Raises:
        TrainingError: none is left, fewer than the limit, or one was never audited.
    """
    trajectories: list[Trajectory] = []
    reports = read_reports(folder) if gate.needs_audit else None
    audits: list[StoredAudit] = []
    failed, excluded = 0, 0
    paths = list_episodes(folder)
    gate.require_known([path.stem for path in paths], folder)
    for path in paths:
        if limit is not None and len(trajectories) == limit:
            break
        episode = read_episode(path)
        if episode.outcome != "success":
            failed += 1
            continue
        reason = gate.names(path.stem)
        if reports is not None and not reason:
            audits.append(_audit_of(episode, path, reports))
            reason = gate.refusal(audits[-1])
        if reason:
            excluded += 1
            logger.warning("left out %s: %s", path.stem, reason)
        else:
            trajectories.append(_with_moments(to_trajectory(episode, path.name), episode, path))
    for told in gate.require_judged(audits, str(folder)):
        logger.warning("%s: %s", folder, told)
    if failed:
        logger.info("%s: left out %d episodes that are no success", folder, failed)
    _require_enough(folder, limit, len(trajectories), failed, excluded)
    return trajectories


def _with_moments(one: Trajectory, episode: Episode, path: Path) -> Trajectory:
    """With the moments that are kept beside the episode, if they are of these very numbers."""
    kept = read_summary(path)
    if kept is None or kept.sha256 != episode.sha256():
        return one
    objects = 0 if one.environment is None else one.environment.shape[1]
    widths = {
        "state": one.state.shape[1],
        "action": one.action.shape[1],
        "environment": len(OBJECT_FEATURES) * objects,
    }
    found = {kind: kept.moments(kind) for kind in widths}
    return replace(one, moments={k: v for k, v in found.items() if len(v) == widths[k]})


def _audit_of(episode: Episode, path: Path, reports: Reports) -> StoredAudit:
    audit = reports.of(
        episode.sha256(),
        episode.audit,
        path.name,
        outcome=episode.outcome,
        own=read_own_outcome(path),
    )
    if audit is None:
        raise TrainingError(
            f"{path} was never audited as it is now: run `ate audit --bags {path.parent}`, or "
            "convert its bag with --audit"
        )
    return audit


def _require_enough(
    folder: Path, limit: int | None, left: int, failed: int, excluded: int
) -> None:
    if not left and excluded:
        raise TrainingError(
            f"the gate keeps all {excluded} successful episodes of {folder} out: lower "
            "--min-score, or exclude less"
        )
    if not left:
        raise TrainingError(f"none of the {failed} episodes in {folder} is a success: record more")
    if limit is not None and left < limit:
        gone = f" ({excluded} more are kept out by the gate)" if excluded else ""
        raise TrainingError(
            f"demonstrations is {limit}, {folder} has {left} successful ones{gone}: record more, "
            "or ask for fewer"
        )


def to_trajectory(episode: Episode, name: str) -> Trajectory:
    """What training needs of an episode, from its first motion on."""
    first = first_motion(episode.action)
    environment = episode.environment
    return Trajectory(
        name=name,
        state=episode.state[first:],
        action=episode.action[first:],
        commanded_by=episode.commanders[first:],
        environment=None if environment is None else environment[first:],
        object_names=episode.object_names,
        images=episode.images,
        first_image=first,
        contract=episode.cell.canonical_text(),
        task=episode.task,
        instruction=episode.instruction or episode.task,
        seed=episode.seed,
        source=episode.source,
    )


def check_trajectories(trajectories: Sequence[Trajectory], config: PolicyConfig) -> None:
    """Refuse demonstrations that do not fit together or lack what the policy reads."""
    first = trajectories[0]
    layout = parse_cell_text(first.contract, where=first.name).layout
    named = next((one for one in trajectories if one.object_names), first)
    compared = {first.contract}
    for one in trajectories:
        if one.contract not in compared:
            compared.add(one.contract)
            _check_cell(one, first, config.cameras)
        _check_vectors(one, layout, config.horizon)
        if config.objects:
            _check_environment(one, first)
            require_same_objects(one.name, one.object_names, named.name, named.object_names)
        missing = [key for key in config.cameras if key not in one.images]
        if missing:
            raise EpisodeError(
                f"{one.name} has no images {missing}, it has {sorted(one.images)}: choose "
                "cameras it has, or record them"
            )


def _check_cell(one: Trajectory, first: Trajectory, cameras: Sequence[str]) -> None:
    """Refuse another layout and devices that were exchanged; tell of other places and bodies."""
    cell = parse_cell_text(one.contract, where=one.name)
    trained = parse_cell_text(first.contract, where=first.name)
    if cell.layout.sha256 != trained.layout.sha256:
        raise LayoutError(
            f"{one.name} has another layout than {first.name}: "
            f"{'; '.join(trained.layout.differences(cell.layout))}. Train on one layout at a time"
        )
    for finding in mixed(trained, cell, cameras, first.name):
        if finding.status == "fail":
            raise EpisodeError(f"{one.name}: {finding.text}")
        logger.warning("%s: %s", one.name, finding.text)


def _check_vectors(one: Trajectory, layout: Layout, horizon: int) -> None:
    length = len(one.action)
    for name, values, size in (
        ("state", one.state, layout.state.size),
        ("action", one.action, layout.action.size),
    ):
        if values.shape != (length, size):
            raise EpisodeError(
                f"{one.name}: {name} has shape {values.shape}, must be {(length, size)}: convert "
                "it again"
            )
        if not np.isfinite(values).all():
            raise EpisodeError(f"{one.name}: {name} holds NaN or infinity: convert it again")
    if length < horizon:
        raise EpisodeError(
            f"{one.name} has {length} ticks, a chunk has {horizon}: remove it or shorten the "
            "horizon"
        )


def _check_environment(one: Trajectory, first: Trajectory) -> None:
    ours, theirs = one.environment, first.environment
    if ours is None or theirs is None:
        raise EpisodeError(
            f"{one.name} has no object poses: a state policy learns from the simulated cell; "
            "train with --variant vision"
        )
    if ours.shape[1:] != theirs.shape[1:]:
        raise EpisodeError(
            f"{one.name} has {ours.shape[1]} objects, {first.name} has {theirs.shape[1]}: train "
            "on one task at a time"
        )
    if not np.isfinite(ours).all():
        raise EpisodeError(f"{one.name}: object poses hold NaN or infinity: convert it again")


def require_same_objects(
    name: str, names: Sequence[str], first: str, known: Sequence[str]
) -> None:
    """Refuse poses whose columns are of other objects than those of the first.

    Args:
        name: Whose poses, for messages.
        names: Of its objects, in their order; empty where nobody recorded them, which passes.
        first: With what it is compared, for messages.
        known: The names there, likewise.

    Raises:
        EpisodeError: both are known and differ, if only in their order.
    """
    if names and known and tuple(names) != tuple(known):
        raise EpisodeError(
            f"{name} has poses of {', '.join(names)}, {first} of {', '.join(known)} in this "
            "order: train on one task at a time"
        )
