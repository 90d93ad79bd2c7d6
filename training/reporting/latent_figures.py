"""Figures of the latent report, as PNG bytes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.reporting.figures import png
from training.vae.measures import DimensionError

COLOURS = ("0.55", "tab:orange", "tab:blue", "tab:green")
"""Of the groups, in their order."""


def principal_plane(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Centre (L,), the two axes (2, L) of largest variance, and their shares of it (2,)."""
    centre = points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(points - centre, full_matrices=False)
    return centre, axes[:2], (sizes**2 / np.sum(sizes**2))[:2]


def plane_figure(groups: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Latent points (N, L) of each group, in the plane of the principal axes of all."""
    centre, plane, shares = principal_plane(np.concatenate(list(groups.values())))
    figure = Figure(figsize=(6, 4.5))
    axes = figure.add_subplot()
    for (name, points), colour in zip(groups.items(), COLOURS, strict=False):
        x, y = ((points - centre) @ plane.T).T
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
    figure = Figure(figsize=(7, 3))
    axes = figure.add_subplot()
    axes.bar([entry["name"] for entry in joints], [entry["rms"] for entry in joints])
    axes.set_ylabel("rms error [deg]")
    axes.tick_params(axis="x", rotation=60)
    axes.grid(axis="y", alpha=0.3)
    return png(figure)
