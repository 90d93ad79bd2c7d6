"""Figures of the reports, as PNG bytes."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ate_core.errors import UsageError
from ate_core.json_text import read_objects
from training.vae.measures import DimensionError

COLOURS = ("0.55", "tab:orange", "tab:blue", "tab:green")
"""Of groups of latent points, in their order."""


def png(figure: Figure) -> bytes:
    """Bytes of a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return buffer.getvalue()


def read_log(run: Path) -> dict[str, NDArray[np.float64]]:
    """Columns of a run's ``log.jsonl``; a metric that a line lacks is NaN."""
    file = run / "log.jsonl"
    if not file.is_file():
        return {}
    lines = read_objects(file, UsageError, "train again, or move the file away")
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


def principal_plane(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Centre (L,), the two axes (2, L) of largest variance, and their shares of it (2,)."""
    centre = points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(points - centre, full_matrices=False)
    return centre, axes[:2], (sizes**2 / np.sum(sizes**2))[:2]


def plane_figure(groups: Mapping[str, Tensor]) -> bytes:
    """Latent points (N, L) of each group, in the plane of the principal axes of all."""
    points = {name: values.double().numpy() for name, values in groups.items()}
    centre, plane, shares = principal_plane(np.concatenate(list(points.values())))
    figure = Figure(figsize=(6, 4.5))
    axes = figure.add_subplot()
    for (name, group), colour in zip(points.items(), COLOURS, strict=False):
        x, y = ((group - centre) @ plane.T).T
        axes.scatter(x, y, s=6, alpha=0.5, color=colour, label=name)
    axes.set(
        xlabel=f"first principal axis ({100 * shares[0]:.0f} % of the variance)",
        ylabel=f"second ({100 * shares[1]:.0f} %)",
    )
    axes.legend(markerscale=3, fontsize="small")
    return png(figure)


def error_figure(entries: Sequence[DimensionError]) -> bytes:
    """Root mean square error of each joint [deg]."""
    joints = [entry for entry in entries if entry["unit"] == "deg"]
    figure = Figure(figsize=(7.0, 3.0))
    axes = figure.add_subplot()
    axes.bar([entry["name"] for entry in joints], [entry["rms"] for entry in joints])
    axes.set_ylabel("rms error [deg]")
    axes.tick_params(axis="x", rotation=60)
    axes.grid(axis="y", alpha=0.3)
    return png(figure)


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
