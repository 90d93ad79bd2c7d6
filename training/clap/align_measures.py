"""How far video latents say what the arms did: retrieval, a linear probe, codes."""

from typing import NamedTuple

import torch
from torch import Tensor

from ate_policy.models.action_tokens import ActionTokens
from training.clap.contrast import cosines_of
from training.clap.features import FrameEncoder, to_unit
from training.clap.latent_space import LatentSpace
from training.clap.vd_vae import VdVae
from training.clap.video_data import Windows
from training.clap.video_only import frames_at

ROWS = 64
"""Windows worked on at once."""
CANDIDATES = 64
"""Windows among which one is looked for, each of another episode."""
DRAWS = 50
"""Times that such windows are drawn."""
RIDGE = 1e-2
"""Of the probe, in units of the mean square of a latent's numbers."""


class Latents(NamedTuple):
    """Of M windows."""

    z_a: Tensor
    """(M, A, N_q, W)."""
    z_i: Tensor
    """(M, N_i, W)."""
    codes: Tensor
    """(M, A, N_q) of z_a."""
    confidence: Tensor
    """(M, A)."""


class Retrieval(NamedTuple):
    """How often the nearest motion is the right one."""

    top1: float
    """Share."""
    candidates: int
    """Windows to choose from, of as many episodes."""


@torch.no_grad()
def latents_of(
    model: VdVae, features: FrameEncoder, windows: Windows, horizon: int, *, swap: bool = False
) -> Latents:
    """Latents of clean frames, by the encoder as it is now.

    Args:
        model: Whose encoder.
        features: It reads.
        windows: To encode.
        horizon: Ticks between the frames.
        swap: Show the later frame first, a control.
    """
    training = model.training
    model.eval()
    device = model.space.origin.device
    found: list[tuple[Tensor, ...]] = []
    for ticks in windows.ticks.split(ROWS):
        pair = [
            features(to_unit(frames_at(windows.frames, at)).to(device))
            for at in (ticks, ticks + horizon)
        ]
        z_a, z_i = model.encoder(*(reversed(pair) if swap else pair))
        codes, sure = nearest_with_confidence(model.action_book.codes, z_a)
        found.append((z_a.cpu(), z_i.cpu(), codes.cpu(), sure.cpu()))
    model.train(training)
    return Latents(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def nearest_with_confidence(codes: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest codes (..., N_q) of latents (..., N_q, W), and per sequence how sure they are.

    Sure is 1 - d1 / d2 of the distances to the nearest and the second code, a mean over the
    sequence: 0 where two are equally near, 1 on a code.
    """
    distance = torch.cdist(z.float().flatten(0, -2), codes.float())  # (R, K)
    near, indices = distance.topk(2, largest=False)
    margin = 1.0 - near[:, 0] / near[:, 1].clamp(min=1e-12)
    shape = z.shape[:-1]
    return indices[:, 0].view(shape), margin.view(shape).mean(dim=-1).clamp(0.0, 1.0)


@torch.no_grad()
def motion_latents(tokens: ActionTokens, windows: Windows) -> tuple[Tensor, Tensor]:
    """Latents (M, A, N_q, W) and codes (M, A, N_q) of the true motion."""
    assert windows.chunks is not None
    codes, z_e = tokens.encode(windows.chunks.flatten(0, 1).to(tokens.registers.device))
    shape = windows.chunks.shape[:2]
    return z_e.cpu().unflatten(0, shape), codes.cpu().unflatten(0, shape)


def retrieval(
    z_a: Tensor,
    references: Tensor,
    windows: Windows,
    space: LatentSpace,
    generator: torch.Generator,
    candidates: int = CANDIDATES,
) -> Retrieval:
    """Top-1 of the true motion's latent among those of other episodes' windows.

    Windows in which both arms rest are no question and are left out.

    Args:
        z_a: (M, A, N_q, W) of video.
        references: Likewise, of motion.
        windows: Where they are from.
        space: Of the cosines.
        generator: Of the draws.
        candidates: At most.
    """
    asked = torch.ones(len(windows), dtype=torch.bool)
    if windows.idle is not None:
        asked = ~windows.idle.all(dim=1)
    some, rows = windows.select(asked), asked.nonzero()[:, 0]
    episodes = len(some.episode.unique())
    count = min(candidates, episodes)
    if count < 2:
        return Retrieval(float("nan"), count)
    found, right = space(z_a), space(references)  # (M, A, n): both arms together
    hits = 0
    for _ in range(DRAWS):
        drawn = rows[some.draw(count, generator)]
        cosines = cosines_of(found[drawn], right[drawn])
        hits += int((cosines.argmax(dim=1) == torch.arange(count)).sum())
    return Retrieval(hits / (DRAWS * count), count)


class Probe:
    """A linear map from latents to the tool's motion over a chunk, fitted once."""

    def __init__(self, latents: Tensor, chunks: Tensor) -> None:
        """Fit by ridge regression.

        Args:
            latents: (M, ...) of training windows.
            chunks: (M, A, H, D) their motion.
        """
        x, y = latents.flatten(1).double(), _ends(chunks)
        self._mean, self._target = x.mean(dim=0), y.mean(dim=0)
        centred = x - self._mean
        gram = centred.T @ centred / len(x)
        ridge = RIDGE * gram.diagonal().mean().clamp(min=1e-12)
        cross = centred.T @ (y - self._target) / len(x)
        self._map = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).double(), cross)

    def r2(self, latents: Tensor, chunks: Tensor) -> float:
        """1 - error / variance about the mean of these windows, over all numbers together."""
        y = _ends(chunks)
        made = (latents.flatten(1).double() - self._mean) @ self._map + self._target
        return float(1.0 - (made - y).square().sum() / (y - y.mean(dim=0)).square().sum())


def code_accuracy(codes: Tensor, true: Tensor, idle: Tensor) -> dict[str, float]:
    """Of arms that move: share of right codes, and that of always saying the most frequent one.

    Args:
        codes: (M, A, N_q) from video.
        true: Likewise, of the motion.
        idle: (M, A).
    """
    if idle.all():
        return {"accuracy": float("nan"), "majority": float("nan")}
    said, right = codes[~idle], true[~idle]  # (R, N_q)
    majority = torch.stack([column.mode().values for column in right.T])
    return {
        "accuracy": float((said == right).float().mean()),
        "majority": float((majority == right).float().mean()),
    }


def _ends(chunks: Tensor) -> Tensor:
    """Motion until a chunk's last tick (M, A D)."""
    return chunks[:, :, -1].flatten(1).double()
