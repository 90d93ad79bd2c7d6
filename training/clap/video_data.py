"""What video is aligned on: windows of the robot with their motion, and windows of clips."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ate_core.contract import Cell
from ate_core.errors import TrainingError
from ate_policy.token_folder import StoredTokens, TokenIdentity, require_same_tokens
from training.clap.chunks import TokenData, load_token_data
from training.clap.storage import run_of
from training.clap.video_only import frame_store, frames_at, moving, read_clips
from training.configs.align_video import AlignVideoConfig
from training.configs.train_tokens import TrainTokensConfig
from training.data.digests import sha256_of, spread
from training.data.episode_file import read_cell
from training.data.images import ImageStore
from training.data.trajectory import read_trajectories

FEW = 512
"""Pictures that stand for all of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Pairs of frames of one camera, in order, and where it is known the motion between them."""

    frames: ImageStore
    """Of all ticks."""
    ticks: Tensor
    """(M,) of frame t; frame t + H is there, too."""
    episode: Tensor
    """(M,) number of the episode, rising."""
    chunks: Tensor | None = None
    """(M, A, H, D) normalised as the tokens read them; None: nobody knows."""
    idle: Tensor | None = None
    """(M, A) arms that rest; None: nobody knows."""

    def __len__(self) -> int:
        return len(self.ticks)

    @cached_property
    def few_frames(self) -> Tensor:
        """Frames (about FEW, h, w, 3) of some of the ticks, spread over all episodes."""
        return frames_at(self.frames, spread(self.ticks, FEW))

    def select(self, mask: Tensor) -> "Windows":
        """Those that a mask (M,), or rows, name."""
        return Windows(
            frames=self.frames,
            ticks=self.ticks[mask],
            episode=self.episode[mask],
            chunks=None if self.chunks is None else self.chunks[mask],
            idle=None if self.idle is None else self.idle[mask],
        )

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Rows (count,), of different episodes as far as there are so many."""
        sizes: Tensor = self.episode.unique_consecutive(return_counts=True)[1]
        first = sizes.cumsum(0) - sizes
        rounds = range(-(-count // len(sizes)))
        order = torch.cat([torch.randperm(len(sizes), generator=generator) for _ in rounds])[
            :count
        ]
        places = torch.rand(count, generator=generator, dtype=torch.float64) * sizes[order]
        return first[order] + places.long().clamp(max=sizes[order] - 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignmentData:
    """Everything a run learns from."""

    robot: Windows
    """Of training episodes."""
    held_out: Windows
    """Of the robot's other episodes."""
    video: Windows | None
    """Of clips; None: there are none."""
    tokens: TokenData
    """The robot's chunks, with the tokens' statistics."""
    about: dict[str, int]
    """Counts for the record."""

    def sha256(self) -> str:
        """Digest that tells whether a run learns from the same data, by some of its pictures."""
        seen = [windows for windows in (self.robot, self.video) if windows is not None]
        pictures = [windows.few_frames for windows in seen]
        ticks = [windows.ticks for windows in seen]
        return sha256_of(self.robot.chunks, *ticks, *pictures)


def load_alignment_data(config: AlignVideoConfig, stored: StoredTokens) -> AlignmentData:
    """Read robot and clips, and refuse tokens that do not fit them.

    Raises:
        TrainingError: the tokens are of another space, rate or layout.
    """
    cell = read_cell(config.episodes[0])
    require_rate(stored.identity, cell, f"--tokens {config.tokens}")
    horizon = stored.identity.horizon
    settings = TrainTokensConfig(
        output=config.output,
        episodes=config.episodes,
        demonstrations=config.demonstrations,
        min_score=config.min_score,
        exclude=config.exclude,
        space="tool",
        split=run_of(stored).split,
        horizon=horizon,
    )
    data = load_token_data(settings)
    wanted = dataclasses.replace(stored.identity, layout=data.layout.names)
    require_same_tokens(wanted, stored.identity, f"--tokens {config.tokens}")
    data = dataclasses.replace(data, statistics=stored.checkpoint.statistics)
    robot = robot_windows(config, data, horizon)
    held = data.held_out[robot.ticks]
    video, dropped = None, 0
    if config.videos:
        video, dropped = video_windows(config, cell.tick_rate, horizon)
    training = robot.select(~held)
    if config.shuffle_labels:
        training = shuffled(training, config.seed)
    about = {
        "robot_windows": int((~held).sum()),
        "held_out_windows": int(held.sum()),
        "video_windows": 0 if video is None else len(video),
        "still_transitions_dropped": dropped,
    }
    return AlignmentData(
        robot=training, held_out=robot.select(held), video=video, tokens=data, about=about
    )


def require_rate(tokens: TokenIdentity, cell: Cell, what: str) -> None:
    """Refuse tokens that are no tool motion at the rate of a cell."""
    wanted = dataclasses.replace(tokens, space="tool", tick_rate=cell.tick_rate)
    require_same_tokens(wanted, tokens, what)


def robot_windows(config: AlignVideoConfig, data: TokenData, horizon: int) -> Windows:
    """Windows of the robot; their ticks are rows of the chunks, too."""
    images, first = [], []
    for folder in config.episodes:
        for one in read_trajectories(folder, config.demonstrations, config.gate):
            if config.camera not in one.images:
                raise TrainingError(
                    f"{folder / one.name} has no images of {config.camera}, it has "
                    f"{sorted(one.images)}: give --camera, or episodes with pictures"
                )
            images.append(one.images[config.camera])
            first.append(one.first_image)
    frames = frame_store(images, first, config.features)
    ticks = window_ticks(data.episode, horizon)
    if not len(ticks):
        raise TrainingError(
            f"no episode of the robot is longer than the {horizon} ticks of a chunk: record more"
        )
    return Windows(
        frames=frames,
        ticks=ticks,
        episode=data.episode[ticks],
        chunks=data.normalised()[ticks],
        idle=data.still[ticks],
    )


def video_windows(config: AlignVideoConfig, rate: float, horizon: int) -> tuple[Windows, int]:
    """Windows of clips in which something is seen to move, and how many were dropped."""
    clips = [clip for folder in config.videos for clip in read_clips(folder, config.camera, rate)]
    frames = frame_store([clip.images for clip in clips], [0] * len(clips), config.features)
    lengths = torch.tensor([len(clip.timestamps_ns) for clip in clips])
    episode = torch.arange(len(clips)).repeat_interleave(lengths)
    ticks = window_ticks(episode, horizon)
    seen = moving(frames, ticks, horizon)
    if not seen.any():
        raise TrainingError(
            f"nothing is seen to move in {_names(config.videos)}: give clips of {config.camera} "
            f"that are longer than {horizon} ticks and show a motion"
        )
    kept = ticks[seen]
    windows = Windows(frames=frames, ticks=kept, episode=episode[kept])
    return windows, int((~seen).sum())


def window_ticks(episode: Tensor, horizon: int) -> Tensor:
    """Ticks whose episode has another one H later, (M,).

    Args:
        episode: (N,) of each tick.
        horizon: H.
    """
    if len(episode) <= horizon:
        return torch.zeros(0, dtype=torch.int64)
    return (episode[horizon:] == episode[:-horizon]).nonzero()[:, 0]


def shuffled(windows: Windows, seed: int) -> Windows:
    """A control: every window has the motion of another one."""
    assert windows.chunks is not None and windows.idle is not None
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))
    return dataclasses.replace(windows, chunks=windows.chunks[order], idle=windows.idle[order])


def _names(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders))
