"""Codes beside episodes whose actions nobody uses: what a token policy learns from video.

One safetensors file in the folder of the episodes, `NAME` unless another name is given. For each
episode, by the stem of its file (``episode_000003``),

    <stem>/ticks       (W,) int64, rising: rows of the episode at which the windows begin
    <stem>/codes       (W, A, N_q) int64, per arm in the order of `PseudoLabels.arms`
    <stem>/confidence  (W, A) float32 in [0, 1]: 0 says nothing, 1 is sure

A window of tick k reaches to tick k + H. What is said about all of them is the file's metadata:
the tokens (space, horizon, rate, layout, sha256), the arms, K, and how the labels were made. To
whom the codes belong is told by the number of rows and the digest of the tick times of each
episode: neither needs its actions.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ate_core.disk_refusals import error_of_rust, remedy
from ate_core.errors import AteError, EpisodeError
from ate_core.files import replacing
from ate_policy.token_folder import TokenIdentity

LABEL_AGAIN = "label the episodes again, with `ate label-video --replace`"
NAME = "pseudo_labels.safetensors"
"""Usual name, beside the episodes."""
FORMAT = 1
"""Version of the file."""
ENTRY = "pseudo_labels"
"""Entry of the file's metadata that holds the rest, as JSON."""
PARTS = ("ticks", "codes", "confidence")
"""Of each episode."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeLabels:
    """Codes of W windows of one episode."""

    ticks: NDArray[np.int64]
    """(W,) row of the episode's file at which each window begins."""
    codes: NDArray[np.int64]
    """(W, A, N_q)."""
    confidence: NDArray[np.float32]
    """(W, A), 0 to 1."""
    rows: int
    """Ticks of the episode."""
    times: str
    """`digest_of_times` of the episode."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PseudoLabels:
    """Codes of the windows of episodes."""

    tokens: TokenIdentity
    """Which space of codes."""
    arms: tuple[str, ...]
    """Sides of the A arms, in the order of the codes."""
    codebook: int
    """Codes to choose from K."""
    episodes: Mapping[str, EpisodeLabels]
    """By the stem of the episode's file."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """How they were made, JSON values: whatever the labelling command tells of itself."""

    def __post_init__(self) -> None:
        """Refuse labels that cannot be."""
        if not self.episodes:
            raise EpisodeError("there are labels of no episode: label one at least")
        lengths = set()
        for name, one in self.episodes.items():
            if problem := _problem(one, self):
                raise EpisodeError(f"labels of {name}: {problem}")
            lengths.add(one.codes.shape[2])
        if len(lengths) > 1:
            raise EpisodeError(
                f"the episodes have {sorted(lengths)} codes per arm: label all with one run"
            )

    @property
    def codes_per_arm(self) -> int:
        """N_q."""
        return int(next(iter(self.episodes.values())).codes.shape[2])

    @property
    def windows(self) -> int:
        """Windows of all episodes."""
        return sum(len(one.ticks) for one in self.episodes.values())


def digest_of_times(timestamps_ns: NDArray[np.int64]) -> str:
    """SHA-256 of the ticks of an episode (T,) [ns]."""
    return hashlib.sha256(np.ascontiguousarray(timestamps_ns, dtype="<i8").tobytes()).hexdigest()


def write_pseudo_labels(path: Path, labels: PseudoLabels) -> None:
    """Write a file that is whole or absent; equal labels, equal bytes."""
    tensors = {
        f"{name}/{part}": np.ascontiguousarray(getattr(one, part))
        for name, one in labels.episodes.items()
        for part in PARTS
    }
    episodes = {
        name: {"rows": one.rows, "times": one.times} for name, one in labels.episodes.items()
    }
    told = {
        "format": FORMAT,
        "tokens": labels.tokens.as_dict(),
        "arms": list(labels.arms),
        "codebook": labels.codebook,
        "episodes": episodes,
        "about": dict(labels.about),
    }
    # one entry: the library writes several in an order of its own
    metadata = {ENTRY: json.dumps(told, sort_keys=True)}
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata)
    except SafetensorError as error:  # what safetensors makes of a disk that refuses
        raise EpisodeError(
            f"{path} cannot be written ({error}): {remedy(error_of_rust(error))}"
        ) from None


def read_pseudo_labels(path: Path) -> PseudoLabels:
    """Read a file of labels, or the one of usual name in a folder of episodes.

    Raises:
        EpisodeError: there is none, it is damaged, or of another version.
    """
    file = path / NAME if path.is_dir() else path
    if not file.is_file():
        raise EpisodeError(f"{file} is not there: label the episodes with `ate label-video`")
    try:
        with safe_open(file, framework="np") as opened:
            told = json.loads((opened.metadata() or {})[ENTRY])
            if told["format"] != FORMAT:
                raise EpisodeError(
                    f"format is {told['format']}, this version reads {FORMAT}: {LABEL_AGAIN}"
                )
            episodes = {
                name: EpisodeLabels(
                    **{part: opened.get_tensor(f"{name}/{part}") for part in PARTS},
                    rows=int(one["rows"]),
                    times=str(one["times"]),
                )
                for name, one in told["episodes"].items()
            }
            return PseudoLabels(
                tokens=TokenIdentity.from_dict(told["tokens"]),
                arms=tuple(told["arms"]),
                codebook=int(told["codebook"]),
                episodes=episodes,
                about=told["about"],
            )
    except AteError as error:
        raise EpisodeError(f"{file}: {error}") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        line = " ".join(str(error).split())
        raise EpisodeError(f"{file} cannot be read ({line}): {LABEL_AGAIN}") from None


def _problem(one: EpisodeLabels, labels: PseudoLabels) -> str:
    """What is wrong with the labels of one episode; empty: nothing."""
    windows, arms = len(one.ticks), len(labels.arms)
    shapes = {
        "ticks": (one.ticks.shape, (windows,)),
        "codes": (one.codes.shape[:2], (windows, arms)),
        "confidence": (one.confidence.shape, (windows, arms)),
    }
    for name, (found, wanted) in shapes.items():
        if tuple(found) != wanted:
            return f"{name} begin with shape {tuple(found)}, need {wanted}"
    if one.codes.ndim != 3 or not one.codes.shape[2]:
        return f"codes have shape {one.codes.shape}, need (windows, arms, codes)"
    if not (_whole_numbers(one.ticks) and _whole_numbers(one.codes)):
        return f"ticks are {one.ticks.dtype}, codes {one.codes.dtype}: need int64"
    if windows and (one.codes.min() < 0 or one.codes.max() >= labels.codebook):
        return (
            f"codes reach from {one.codes.min()} to {one.codes.max()}, must be 0 to "
            f"{labels.codebook - 1}"
        )
    last = one.rows - 1 - labels.tokens.horizon
    if windows and (one.ticks[0] < 0 or one.ticks[-1] > last or (np.diff(one.ticks) <= 0).any()):
        return (
            f"windows begin at ticks {one.ticks[0]} to {one.ticks[-1]}, must rise from 0 to "
            f"{last}: the episode has {one.rows} rows, a window reaches "
            f"{labels.tokens.horizon} further"
        )
    sure = one.confidence
    if not (np.isfinite(sure).all() and (sure >= 0.0).all() and (sure <= 1.0).all()):
        return "a confidence is not in [0, 1]"
    return ""


def _whole_numbers(values: NDArray[Any]) -> bool:
    return values.dtype == np.int64
