"""Windows of episodes without actions, as a token policy is shown them, and their codes."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ate_core.episode_outcome import SUCCESS
from ate_core.errors import EpisodeError, TrainingError
from ate_policy.models.interface import PolicyConfig
from ate_policy.token_folder import StoredTokens, require_same_tokens
from ate_policy.transforms import Statistics, environment_features
from training.clap.pseudo_labels import (
    LABEL_AGAIN,
    EpisodeLabels,
    PseudoLabels,
    digest_of_times,
    read_pseudo_labels,
)
from training.data.digests import sha256_of
from training.data.episode_file import read_outcome_of
from training.data.images import ImageStore
from training.data.set_files import refuse_half_edited
from training.data.trajectory import require_same_objects
from training.data.watched_episode import WatchedEpisode, read_watched


@dataclass(frozen=True, kw_only=True)
class WatchedWindows:
    """All ticks of the episodes, as observed, and the codes of those that have some."""

    states: Tensor
    """(N, S) in robot units: nobody measured any, the mean of the demonstrations stands there."""
    environment: Tensor | None
    """(N, 6 n) object features."""
    images: ImageStore | None
    """Cameras of all ticks."""
    instructions: tuple[str, ...]
    """By episode."""
    first_ticks: Tensor
    """(E,) first tick of each episode."""
    ticks: Tensor
    """(M,) ticks at which a window begins."""
    codes: Tensor
    """(N, L) int64; of other ticks they mean nothing."""
    left_out: int
    """Windows whose codes are not sure enough."""

    def instructions_of(self, rows: Tensor) -> tuple[str, ...]:
        """Instruction of each tick (B,)."""
        episodes = torch.searchsorted(self.first_ticks, rows, right=True) - 1
        return tuple(self.instructions[index] for index in episodes.tolist())

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw ticks (count,) at which a window begins, with replacement."""
        return self.ticks[torch.randint(len(self.ticks), (count,), generator=generator)]

    def sha256(self) -> str:
        """Digest of what was read, images aside."""
        told = json.dumps([self.instructions, self.first_ticks.tolist()])
        return sha256_of(told, self.environment, self.ticks, self.codes)

    def __str__(self) -> str:
        """For the screen and the model card."""
        return (
            f"{len(self.ticks)} windows of {len(self.instructions)} episodes without actions "
            f"({self.left_out} left out: not sure enough)"
        )


def read_windows(
    path: Path,
    tokens: StoredTokens,
    config: PolicyConfig,
    statistics: Statistics,
    *,
    arms: tuple[str, ...],
    confidence: float,
    image_memory_gb: float,
    object_names: tuple[str, ...] = (),
) -> WatchedWindows:
    """Read labelled episodes; their actions stay closed.

    Args:
        path: Folder of the episodes, or the file of labels in it.
        tokens: Of the policy that learns.
        config: What it reads.
        statistics: Of the policy.
        arms: Sides, in the order of the tokens' numbers.
        confidence: Least one of each arm of a window.
        image_memory_gb: Images are decoded once if that is enough.
        object_names: Of the demonstrations' poses, in their order; empty: not known.

    Raises:
        TrainingError: the codes are of other tokens, or no window is sure enough.
        EpisodeError: an episode is not there, is another, or lacks what the policy reads.
    """
    labels = read_pseudo_labels(path)
    require_same_tokens(tokens.identity, labels.tokens, f"the labels {path}")
    _require_same_codes(path, labels, tokens, arms)
    folder = path if path.is_dir() else path.parent
    refuse_half_edited(folder)
    episodes = {name: _episode(folder, name, one) for name, one in labels.episodes.items()}
    known = [("the demonstrations", object_names)]
    known += [(name, one.object_names) for name, one in episodes.items()]
    named = next((one for one in known if one[1]), known[0])
    for name, episode in episodes.items():
        _require_readable(name, episode, config)
        if config.objects:
            require_same_objects(name, episode.object_names, *named)
    total = sum(len(one) for one in episodes.values())
    codes, ticks, firsts, offset = torch.zeros((total, tokens.codes), dtype=torch.int64), [], [], 0
    for name, one in labels.episodes.items():
        rows = torch.from_numpy(one.ticks) + offset
        codes[rows] = torch.from_numpy(one.codes).flatten(1)
        ticks.append(rows[torch.from_numpy((one.confidence >= confidence).all(1))])
        firsts.append(offset)
        offset += len(episodes[name])
    drawn = torch.cat(ticks)
    if not len(drawn):
        raise TrainingError(
            f"none of the {labels.windows} windows of {path} has a confidence of {confidence:g}: "
            "give a lower --policy.pseudo-confidence"
        )
    environment, images = None, None
    if config.objects:
        poses = [one.environment for one in episodes.values() if one.environment is not None]
        environment = torch.from_numpy(np.concatenate([environment_features(p) for p in poses]))
    if config.cameras:
        images = ImageStore(
            [[one.images[key] for key in config.cameras] for one in episodes.values()],
            [0] * len(episodes),
            height=config.image_height,
            width=config.image_width,
            fit=config.image_fit,
            memory_gb=image_memory_gb,
        )
    return WatchedWindows(
        states=torch.tensor(statistics.state.mean).expand(total, -1),
        environment=environment,
        images=images,
        instructions=tuple(one.instruction for one in episodes.values()),
        first_ticks=torch.tensor(firsts),
        ticks=drawn,
        codes=codes,
        left_out=labels.windows - len(drawn),
    )


def _require_same_codes(
    path: Path, labels: PseudoLabels, tokens: StoredTokens, arms: tuple[str, ...]
) -> None:
    """Refuse labels whose codes are not those of the tokens, one by one."""
    sizes = tokens.model.config
    for what, found, wanted in (
        ("arms", labels.arms, arms),
        ("codes per arm", labels.codes_per_arm, sizes.codes),
        ("a codebook of", labels.codebook, sizes.codebook),
    ):
        if found != wanted:
            raise TrainingError(
                f"the labels {path} have {what} {found}, the tokens {wanted}: label the episodes "
                "with these tokens"
            )


def _episode(folder: Path, name: str, labels: EpisodeLabels) -> WatchedEpisode:
    """The episode that labels were written for."""
    path = folder / f"{name}.hdf5"
    if not path.is_file():
        raise EpisodeError(f"{path} is not there, and labels name it: {LABEL_AGAIN}")
    outcome = read_outcome_of(path)
    if outcome != SUCCESS:
        raise EpisodeError(f"{path} is no success by now ({outcome}): {LABEL_AGAIN}")
    episode = read_watched(path)
    if (len(episode), digest_of_times(episode.timestamps_ns)) != (labels.rows, labels.times):
        raise EpisodeError(
            f"{path} has {len(episode)} ticks at other times than the episode that was labelled "
            f"({labels.rows}): {LABEL_AGAIN}"
        )
    return episode


def _require_readable(name: str, episode: WatchedEpisode, config: PolicyConfig) -> None:
    found = 0 if episode.environment is None else episode.environment.shape[1]
    if config.objects and found != config.objects:
        raise EpisodeError(
            f"{name} without actions has {found} object poses, the policy reads "
            f"{config.objects}: train with --variant vision, or label episodes that have them"
        )
    if config.objects and not np.isfinite(np.asarray(episode.environment)).all():
        raise EpisodeError(f"{name}: object poses hold NaN or infinity: convert it again")
    missing = [key for key in config.cameras if key not in episode.images]
    if missing:
        raise EpisodeError(
            f"{name} without actions has no images {missing}, it has {sorted(episode.images)}: "
            "choose cameras it has with --images.cameras"
        )
