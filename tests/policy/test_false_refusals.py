"""The chunk check lets clean chunks pass and refuses every planted fault."""

import numpy as np
import pytest

from ate_core.contract import SIDES, load_cell
from ate_policy.chunk_check import ChunkLimits, ChunkRefusal
from ate_sim.env import CellEnv, ExpertPlayer
from ate_sim.motion_plan import ExpertConfig

CELL = load_cell(hardware="sim")
LIMITS = ChunkLimits.of_cell(CELL)
TASKS = ("pick_place", "handover", "pick_bun", "use_toaster", "cook_bun")
HORIZON = 20
JITTER = 0.005
"""Noise of a network's joint targets [rad]."""
MOST_REFUSED = 1e-3
"""Share of clean chunks that may be refused."""
PLANTED = 40
"""Chunks into which each fault is planted."""


@pytest.fixture(scope="module")
def clean():
    """Chunks (N, H, D) of the experts and what was commanded before each (N, D)."""
    rng = np.random.default_rng(0)
    chunks, before = [], []
    for task in TASKS:
        env = CellEnv(task, CELL)
        for seed, difficulty in enumerate(("normal", "hard", "hard")):
            env.reset(seed, difficulty)
            player = ExpertPlayer(env, seed, ExpertConfig(aim_noise=0.003))
            actions = np.array([player.action(tick) for tick in range(player.ticks)])
            for start in range(1, len(actions) - HORIZON):
                chunks.append(actions[start : start + HORIZON].copy())
                before.append(actions[start - 1])
        env.close()
    chunks = np.array(chunks)
    for arm in LIMITS.arms:
        chunks[:, :, arm] += rng.normal(0.0, JITTER, (*chunks.shape[:2], 7))
    return chunks, np.array(before)


def refusals(chunks, before):
    """Kind of refusal of each chunk; empty where it passes."""
    found = []
    for chunk, start in zip(chunks, before, strict=True):
        try:
            LIMITS.check(chunk, start)
            found.append("")
        except ChunkRefusal as refusal:
            found.append(refusal.kind)
    return found


@pytest.mark.timeout(600)
def test_of_a_thousand_clean_chunks_less_than_one_is_refused(clean):
    """None of 3000 would be refused by chance in 5 % of all runs if it were one in a thousand."""
    found = refusals(*clean)
    assert len(found) > 3000
    assert np.mean([kind != "" for kind in found]) < MOST_REFUSED, set(found)


def not_finite(chunk, before, rng):
    chunk[rng.integers(HORIZON), rng.integers(16)] = rng.choice([np.nan, np.inf, -np.inf])


def beyond_a_limit(chunk, before, rng):
    column = rng.integers(16)
    chunk[rng.integers(HORIZON), column] = LIMITS.upper[column] + 0.01


def jumping(chunk, before, rng):
    """From some row on one joint is elsewhere, within its limits."""
    column = rng.choice(np.flatnonzero(np.isfinite(LIMITS.step)))
    row = rng.integers(HORIZON)
    away = 1.2 * LIMITS.step[column]
    middle = 0.5 * (LIMITS.lower[column] + LIMITS.upper[column])
    chunk[row:, column] += away if chunk[row, column] < middle else -away


def into_the_table(chunk, before, rng):
    """Step by step both arms bend down, from where the first one is."""
    share = np.linspace(0.0, 1.0, HORIZON)[:, None]
    for side in SIDES:
        where = CELL.layout.action.slice(f"{side}_arm")
        chunk[:, where] = before[where] + share * np.array([0, 1.2, 0, 0, 0, -1.2, 0])


def swapped_arms(chunk, before, rng):
    """As far as one chunk can tell; of arms that stand alike: `test_exchanged.py`."""
    left, right = (CELL.layout.action.slice(f"{side}_arm") for side in SIDES)
    chunk[:, left], chunk[:, right] = chunk[:, right].copy(), chunk[:, left].copy()


def in_degrees(chunk, before, rng):
    for arm in LIMITS.arms:
        chunk[:, arm] = np.degrees(chunk[:, arm])


FAULTS = {
    not_finite: {"not finite"},
    beyond_a_limit: {"limit"},
    jumping: {"far", "jump"},
    into_the_table: {"distance"},
    swapped_arms: {"exchanged", "far", "limit"},
    in_degrees: {"limit", "far"},
}


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_every_planted_fault_is_refused(clean, plant):
    rng = np.random.default_rng(1)
    chunks, before = clean
    rows = np.arange(len(chunks))
    if plant is swapped_arms:
        left, right = (chunks[:, 0, arm] for arm in LIMITS.arms)
        rows = rows[np.abs(left - right).max(axis=1) > CELL.safety.max_step + 5 * JITTER]
        assert len(rows) > 0.7 * len(chunks)
    picked = rng.choice(rows, PLANTED, replace=False)
    chunks, before = chunks[picked].copy(), before[picked]
    for chunk, start in zip(chunks, before, strict=True):
        plant(chunk, start, rng)
    assert set(refusals(chunks, before)) <= FAULTS[plant]
