"""`ate label-video`: codes of motion beside clips whose actions nobody knows."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from ate_core.errors import EpisodeError, UsageError
from ate_policy.checkpoint import resolve_checkpoint
from ate_policy.token_folder import load_tokens, require_same_tokens
from training.clap.align_measures import latents_of
from training.clap.align_storage import StoredAlignment, load_alignment
from training.clap.pseudo_labels import (
    NAME,
    EpisodeLabels,
    PseudoLabels,
    digest_of_times,
    write_pseudo_labels,
)
from training.clap.rate import perplexity
from training.clap.video_data import Windows, window_ticks
from training.clap.video_only import Clip, frame_store, moving, read_clips
from training.configs.label_video import LabelVideoConfig

DROPPED = "still_transitions_dropped"
"""What labels tell of windows that they leave out."""


def label_video(config: LabelVideoConfig) -> int:
    """Label the clips of each folder; a folder is written when it is done.

    Returns:
        0.
    """
    torch.set_num_threads(config.threads)
    aligned = load_alignment(config.aligned)
    if config.tokens is not None:
        found = load_tokens(config.tokens).identity
        require_same_tokens(aligned.tokens, found, f"--tokens {config.tokens}")
    for folder in config.videos:
        if (folder / NAME).exists() and not config.replace:
            raise UsageError(f"{folder / NAME} is there: add --replace to write it anew")
    camera = config.camera or aligned.camera
    weights = resolve_checkpoint(config.aligned) / "model.safetensors"
    about = {
        "made_by": "ate label-video",
        "camera": camera,
        "aligned_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "step": aligned.checkpoint.training.get("step"),
    }
    for folder in config.videos:
        print(label_folder(aligned, folder, camera, about))
    return 0


def label_folder(
    aligned: StoredAlignment, folder: Path, camera: str, about: dict[str, object]
) -> str:
    """Label one folder; returns what became of it, in words."""
    labels = labels_of(aligned, folder, camera, about)
    write_pseudo_labels(folder / NAME, labels)
    episodes = labels.episodes.values()
    codes = np.concatenate([one.codes.ravel() for one in episodes])
    counts = np.bincount(codes, minlength=labels.codebook)
    sure = np.concatenate([one.confidence.ravel() for one in episodes]).mean()
    used = int((counts > 0).sum())
    return (
        f"{folder / NAME}: {labels.windows} windows of {len(episodes)} clips, "
        f"{labels.about[DROPPED]} dropped in which nothing is seen to move; {used} of "
        f"{labels.codebook} codes used, perplexity {perplexity(counts):.0f}, confidence {sure:.2f}"
    )


def labels_of(
    aligned: StoredAlignment, folder: Path, camera: str, about: dict[str, object]
) -> PseudoLabels:
    """Codes of the windows of all clips of a folder.

    Args:
        aligned: Reads them.
        folder: Of the clips; only their pictures are looked at.
        camera: Whose pictures.
        about: Kept with the labels.

    Raises:
        EpisodeError: nothing is seen to move.
    """
    clips = read_clips(folder, camera, aligned.tokens.tick_rate)
    episodes, dropped = {}, 0
    for clip in clips:
        episodes[clip.name], still = label_clip(aligned, clip)
        dropped += still
    labels = PseudoLabels(
        tokens=aligned.tokens,
        arms=tuple(aligned.checkpoint.cell.arms),
        codebook=aligned.model.config.codebook,
        episodes=episodes,
        about=about | {DROPPED: dropped},
    )
    if not labels.windows:
        raise EpisodeError(
            f"nothing is seen to move in the {len(clips)} clips of {folder}: no labels written; "
            "check --camera"
        )
    return labels


def label_clip(aligned: StoredAlignment, clip: Clip) -> tuple[EpisodeLabels, int]:
    """Codes of a clip's windows, and how many were dropped."""
    model, horizon, rows = aligned.model, aligned.tokens.horizon, len(clip.timestamps_ns)
    frames = frame_store([clip.images], [0], aligned.features.config)
    ticks = window_ticks(torch.zeros(rows), horizon)
    seen = moving(frames, ticks, horizon)
    kept = ticks[seen]
    shape = (0, model.config.arms, model.config.codes)
    codes, sure = np.zeros(shape, np.int64), np.zeros(shape[:2], np.float32)
    if len(kept):
        windows = Windows(frames=frames, ticks=kept, episode=torch.zeros(len(kept)))
        found = latents_of(model, aligned.features, windows, horizon)
        codes, sure = found.codes.numpy(), found.confidence.float().numpy()
    labels = EpisodeLabels(
        ticks=kept.numpy(),
        codes=codes,
        confidence=sure,
        rows=rows,
        times=digest_of_times(clip.timestamps_ns),
    )
    return labels, int((~seen).sum())
