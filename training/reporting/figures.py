"""Figures of the report, as PNG bytes."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ate_policy.models.interface import PolicyConfig
from training.data.dataset import gather
from training.data.trajectory import read_trajectories
from training.vae.storage import StoredVae, load_vae

SAMPLES = 600
"""Chunks shown in the latent picture."""


def png(figure: Figure) -> bytes:
    """Bytes of a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return buffer.getvalue()


def read_log(run: Path) -> dict[str, NDArray[np.float64]]:
    """Columns of a run's ``log.jsonl``; a figure missing in a line is NaN."""
    file = run / "log.jsonl"
    if not file.is_file():
        return {}
    lines = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    keys = sorted({key for line in lines for key in line})
    return {key: np.array([line.get(key, np.nan) for line in lines]) for key in keys}


def losses_figure(runs: Mapping[str, Path], key: str = "loss") -> bytes | None:
    """Training losses over steps, one line per run; None when there is no log."""
    figure = Figure(figsize=(6, 3))
    axes = figure.add_subplot()
    for name, run in runs.items():
        log = read_log(run)
        if key in log:
            axes.plot(log["step"], log[key], label=name)
    if not axes.lines:
        return None
    axes.set(xlabel="step", ylabel=key, yscale="log")
    axes.legend()
    axes.grid(alpha=0.3)
    return png(figure)


def latent_figure(pretraining: Path, adaptation: Path, episodes: Path) -> bytes:
    """Latent means of the demonstrations under both encoders, beside the aligned prior.

    The plane is that of the first two principal axes of what is shown. Grey: samples of the
    aggregate posterior q_phi of pre-training; orange: the demonstrations under its encoder;
    blue: under the encoder that was aligned to it.
    """
    first, second = load_vae(pretraining), load_vae(adaptation)
    groups = {
        "prior: samples of q_phi": (_prior_samples(first), "0.6"),
        "demonstrations, pre-training encoder": (_means(first, second, episodes), "tab:orange"),
        "demonstrations, aligned encoder": (_means(second, second, episodes), "tab:blue"),
    }
    everything = np.concatenate([points for points, _ in groups.values()])
    centre = everything.mean(axis=0)
    _, _, axes_of = np.linalg.svd(everything - centre, full_matrices=False)
    figure = Figure(figsize=(6, 4.5))
    axes = figure.add_subplot()
    for name, (points, colour) in groups.items():
        x, y = ((points - centre) @ axes_of[:2].T).T
        axes.scatter(x, y, s=6, alpha=0.5, color=colour, label=name)
    axes.set(xlabel="first principal axis", ylabel="second principal axis")
    axes.legend(markerscale=3, fontsize="small")
    return png(figure)


def _prior_samples(vae: StoredVae) -> NDArray[np.float32]:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(SAMPLES, len(vae.moments.mean), generator=generator)
    return (vae.moments.mean + vae.moments.variance.sqrt() * noise).numpy()


@torch.inference_mode()
def _means(encoder: StoredVae, space: StoredVae, episodes: Path) -> NDArray[np.float32]:
    """Latent means of demonstration chunks, normalised as the policy's (``space``)."""
    data = gather(read_trajectories(episodes), PolicyConfig(horizon=encoder.model.config.horizon))
    rows = torch.linspace(0, len(data.windows) - 1, min(SAMPLES, len(data.windows))).long()
    chunks = data.actions[data.windows[rows]]
    statistics = space.checkpoint.statistics.action
    scaled = (chunks - torch.tensor(statistics.mean)) / torch.tensor(statistics.std)
    mean, _ = encoder.model.encode(scaled.float())
    return mean.numpy()


def period_figure(timings: Mapping[str, Mapping[str, float]]) -> bytes:
    """Median and p99 deviation of the period of loops, on a log axis [ms]."""
    figure = Figure(figsize=(6, 1 + 0.5 * len(timings)))
    axes = figure.add_subplot()
    names: Sequence[str] = list(timings)
    for row, name in enumerate(names):
        loop = timings[name]
        for key, colour in (("median_ms", "tab:blue"), ("p99_ms", "tab:red")):
            off = max(abs(loop[key] - loop["period_ms"]), 1e-3)
            axes.plot([off], [row], "o", color=colour, label=key if row == 0 else None)
    axes.set_yticks(range(len(names)), names)
    axes.set(xscale="log", xlabel="deviation from the period [ms]")
    axes.legend(["median", "p99"])
    axes.grid(alpha=0.3)
    return png(figure)
