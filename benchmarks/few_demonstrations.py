"""Table (c) of docs/clap.md: what clips without actions add to ten demonstrations.

    python -m benchmarks.few_demonstrations --alignment runs/alignment --output runs/few
    python -m benchmarks.few_demonstrations --alignment runs/try --output runs/few_try --try-out

Tokens, clips and the other tasks' episodes are those of table (b), whose folder is given and made
where it is missing. Every stage leaves its folder and every measured run its file: the same
command goes on after it was stopped. It ends with the table and what the gates say.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import tyro

from ate_core.files import replace_text
from benchmarks.stages import mean_words
from benchmarks.watched_chain import ARMS, Chain, Options, Row, share_of
from training.evaluation.intervals import FEWEST_RUNS, mean_interval

ROOM = 10.0
"""Least gain of true codes over demonstrations alone, for the test to have room [points]."""
SMALLEST: dict[str, Any] = {
    "seeds": 1,
    "demonstrations": 2,
    "align_steps": 2,
    "token_steps": 2,
    "steps": 2,
    "starts": 1,
    "limit": 1.0,
    "preset": "tiny",
}


def main(options: Options) -> int:
    """Make what is missing, then print."""
    if options.try_out:
        options = dataclasses.replace(options, **SMALLEST)
    torch.set_num_threads(1)
    rows = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        chain = Chain(options=options, seed=seed)
        rows += [chain.row(arm) for arm in options.arms]
    lines = [*table(rows), "", *judge(rows)]
    replace_text(options.output / "table.md", "\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


def table(rows: Sequence[Row]) -> list[str]:
    """A line per arm: means over seeds, and differences from demonstrations alone."""
    lines = [
        "| arm | runs | success [%] | minus demonstrations | codes of clips right [%] "
        "| codes of held-out demonstrations right (most frequent) [%] |",
        "|---|---|---|---|---|---|",
    ]
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        success, right, most = (
            100.0 * np.mean([row[key] for row in own]) for key in ("success", "right", "majority")
        )
        labels = share_of(own)
        told = "–" if labels is None else f"{100.0 * labels:.1f}"
        gain = mean_words(differences(rows, arm, ARMS[0]))
        lines.append(
            f"| {arm} | {len(own)} | {success:.1f} | {gain} | {told} | {right:.1f} ({most:.1f}) |"
        )
    return lines


def differences(rows: Sequence[Row], one: str, other: str) -> list[float]:
    """Of success, one for each seed that both arms have [points]."""
    arms = {
        arm: {row["seed"]: row["success"] for row in rows if row["arm"] == arm}
        for arm in (one, other)
    }
    seeds = sorted(set(arms[one]) & set(arms[other]))
    return [100.0 * (arms[one][seed] - arms[other][seed]) for seed in seeds]


def judge(rows: Sequence[Row]) -> list[str]:
    """The gates that were fixed before the first run."""
    none, pseudo, shuffled, true = ARMS
    room, shown = differences(rows, true, none), differences(rows, pseudo, shuffled)
    has_room = len(room) >= FEWEST_RUNS and float(np.mean(room)) >= ROOM
    lines = [
        f"{true} over {none}: {mean_words(room)}, at least {ROOM:g} points: "
        f"{'there is room' if has_room else 'the test has no room'}"
    ]
    interval = mean_interval(shown, FEWEST_RUNS)
    told = "shown" if interval is not None and interval[0] > 0.0 else "not shown"
    return [*lines, f"{pseudo} over {shuffled}: {mean_words(shown)}, interval above 0: {told}"]


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options, description=__doc__)))
