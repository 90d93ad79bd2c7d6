"""Numbers that say what a latent space holds."""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from ate_core.arm_model import tool_chain
from ate_core.contract import Cell
from ate_core.kinematics import SerialChain
from ate_core.layout import VectorLayout
from training.vae.losses import DiagonalGaussian, mmd

ACTIVE = 0.01
"""Variance of the means above which a unit is active (Burda et al. 2016)."""
SAMPLES = 1000
"""Samples of each side in the MMD."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How far two aggregate posteriors lie on each other."""

    bhattacharyya: float
    """Mean over units of the coefficient, 0 (apart) to 1 (equal)."""
    kl_forward: float
    """KL(q_phi || q_psi), mean over units [nats]."""
    kl_reverse: float
    """KL(q_psi || q_phi), mean over units [nats]."""
    mmd: float
    """Squared MMD between samples of both."""
    mmd_same: float
    """The same between two sets of samples of q_phi: what chance gives."""


def active_units(mean: Tensor) -> int:
    """Units whose mean depends on the chunk: Var_a[mu_u(a)] > 0.01, from mu (N, L)."""
    return int((mean.double().var(dim=0) > ACTIVE).sum())


def overlap(phi: DiagonalGaussian, psi: DiagonalGaussian, seed: int) -> Overlap:
    """Compare q_phi of stage 1 with q_psi of stage 2, as diagonal Gaussians."""
    generator = torch.Generator().manual_seed(seed)
    phi_32, psi_32 = phi.to(torch.device("cpu")), psi.to(torch.device("cpu"))
    first, second = (phi_32.sample(SAMPLES, generator) for _ in range(2))
    other = psi_32.sample(SAMPLES, generator)
    return Overlap(
        bhattacharyya=bhattacharyya(phi, psi).mean().item(),
        kl_forward=gaussian_kl(phi, psi).mean().item(),
        kl_reverse=gaussian_kl(psi, phi).mean().item(),
        mmd=mmd(other, first).item(),
        mmd_same=mmd(second, first).item(),
    )


def bhattacharyya(p: DiagonalGaussian, q: DiagonalGaussian) -> Tensor:
    """Overlap per unit (L,), the integral of sqrt(p q).

    sqrt(2 s_p s_q / (S_p + S_q)) exp(-(m_p - m_q)^2 / (4 (S_p + S_q)))
    """
    total = p.variance + q.variance
    scale = (2.0 * (p.variance * q.variance).sqrt() / total).sqrt()
    return scale * torch.exp(-0.25 * (p.mean - q.mean).square() / total)


def gaussian_kl(p: DiagonalGaussian, q: DiagonalGaussian) -> Tensor:
    """KL(p || q) per unit (L,): 1/2 [log(S_q / S_p) + (S_p + (m_p - m_q)^2) / S_q - 1]."""
    ratio = (p.variance + (p.mean - q.mean).square()) / q.variance
    return 0.5 * ((q.variance / p.variance).log() + ratio - 1.0)


class DimensionError(TypedDict):
    """How far one dimension of chunks is off."""

    name: str
    """Of the dimension."""
    unit: str
    """deg for angles."""
    rms: float
    """Root mean square error."""
    largest: float
    """Largest error."""


def dimension_errors(
    made: np.ndarray, true: np.ndarray, layout: VectorLayout
) -> list[DimensionError]:
    """Errors of each dimension of chunks (N, H, D) in robot units."""
    off = np.abs(made.astype(np.float64) - true).reshape(-1, layout.size)
    entries: list[DimensionError] = []
    for column, (name, unit) in enumerate(zip(layout.names, layout.units, strict=True)):
        errors = np.degrees(off[:, column]) if unit == "rad" else off[:, column]
        entries.append(
            {
                "name": name,
                "unit": "deg" if unit == "rad" else unit,
                "rms": float(np.sqrt(np.mean(errors**2))),
                "largest": float(errors.max()),
            }
        )
    return entries


def tool_errors(made: np.ndarray, true: np.ndarray, cell: Cell) -> dict[str, dict[str, float]]:
    """Distance between the tools of two sets of chunks (N, H, D) [mm], by arm."""
    found = {}
    for side, arm in cell.arms.items():
        chain = tool_chain(arm)
        columns = cell.layout.action.slice(f"{side}_arm")
        places = [_tool_positions(chain, chunks[..., columns]) for chunks in (made, true)]
        distance = 1000.0 * np.linalg.norm(places[0] - places[1], axis=-1)
        found[side] = {
            "mean": float(distance.mean()),
            "p95": float(np.quantile(distance, 0.95)),
            "largest": float(distance.max()),
        }
    return found


def _tool_positions(chain: SerialChain, q: np.ndarray) -> np.ndarray:
    """(N, H, n) [rad] -> (N H, 3) [m], in the arm's base frame."""
    return np.stack([chain.fk(row)[:3, 3] for row in q.reshape(-1, q.shape[-1])])
