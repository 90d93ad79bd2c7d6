"""Table (d) of docs/clap.md: what a trunk keeps of an old task while its flow head learns another.

    python -m benchmarks.knowledge_retention --output runs/retention
    python -m benchmarks.knowledge_retention --output runs/retention_try --try-out

Every stage leaves its folder and every measured run its file: the same command goes on after it
was stopped. It ends with the table and the gates, and fails where one does not hold.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import tyro

from ate_core.files import replace_text
from benchmarks.retention_chain import REFERENCE, Chain, Options, Row, make_tokens
from benchmarks.stages import mean_words
from training.evaluation.intervals import FEWEST_RUNS, mean_interval

LOST = 0.05
"""Most that a held trunk may cost on the new task, of plain training's error."""
SMALLEST: dict[str, Any] = {
    "seeds": 1,
    "demonstrations": 4,
    "held_out": 1,
    "token_steps": 2,
    "old_steps": 2,
    "between_steps": 1,
    "steps": 2,
    "preset": "tiny",
}


def main(options: Options) -> int:
    """Make what is missing, then print."""
    if options.try_out:
        options = dataclasses.replace(options, **SMALLEST)
    torch.set_num_threads(1)
    tokens = make_tokens(options)
    rows = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        chain = Chain(options=options, seed=seed, tokens=tokens)
        rows += [chain.row(REFERENCE), *(chain.row(name) for name in options.arms)]
    lines = [*table(rows), "", *(gates := judge(rows))]
    replace_text(options.output / "table.md", "\n".join(lines) + "\n")
    print("\n".join(lines))
    return int(not options.try_out and any("does not hold" in line for line in gates))


def table(rows: Sequence[Row]) -> list[str]:
    """A line per arm: means over seeds, and differences from plain training paired by seed."""
    lines = [
        "| arm | runs | old task [%] | minus plain | new task [%] | its error | over plain [%] |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == name]
        old, new = (100.0 * np.mean([row[key] for row in own]) for key in ("old", "new"))
        error, cost = "–", "–"
        if name != REFERENCE:  # it has no flow
            error = f"{np.mean([row['error'] for row in own]):.4f}"
            cost = mean_words(differences(rows, name, "error"))
        lines.append(
            f"| {name} | {len(own)} | {old:.1f} | {mean_words(differences(rows, name, 'old'))} "
            f"| {new:.1f} | {error} | {cost} |"
        )
    of = [row for row in rows if row["arm"] == REFERENCE]
    old, new = (100.0 * np.mean([row[f"{key}_majority"] for row in of]) for key in ("old", "new"))
    return [*lines, f"| most frequent codes | {len(of)} | {old:.1f} | – | {new:.1f} | – | – |"]


def differences(rows: Sequence[Row], name: str, key: str) -> list[float]:
    """By seed, an arm minus plain: points of accuracy, or per cent of plain training's error."""
    plain = {row["seed"]: row[key] for row in rows if row["arm"] == "plain"}
    own = [row for row in rows if row["arm"] == name and row["seed"] in plain]
    units = {row["seed"]: plain[row["seed"]] if key == "error" else 1.0 for row in own}
    return [100.0 * (row[key] - plain[row["seed"]]) / units[row["seed"]] for row in own]


def judge(rows: Sequence[Row]) -> list[str]:
    """The gates that were fixed before the first run."""
    lines, start = [], {row["seed"]: row["old"] for row in rows if row["arm"] == REFERENCE}
    by_arm: dict[str, list[Row]] = {}
    for row in rows:
        by_arm.setdefault(row["arm"], []).append(row)
    if "km:0" in by_arm:
        same = all(row["as_plain"] for row in by_arm["km:0"])
        lines.append(f"weight 0 is plain training to the bit: {_verdict(same)}")
    if "frozen" in by_arm:
        kept = all(row["old"] == start[row["seed"]] for row in by_arm["frozen"])
        lines.append(f"a frozen trunk keeps the old task exactly: {_verdict(kept)}")
    if "km:0.5" in by_arm:
        interval = mean_interval(differences(rows, "km:0.5", "old"), FEWEST_RUNS)
        told = "not judged, too few" if interval is None else _verdict(interval[0] > 0.0)
        lines.append(f"0.5 keeps more of the old task than plain, interval above 0: {told}")
        cost = float(np.mean(differences(rows, "km:0.5", "error")))
        within = _verdict(cost <= 100.0 * LOST)
        lines.append(f"0.5 costs {cost:.1f} % on the new task, at most {100 * LOST:g} %: {within}")
    return lines


def _verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options, description=__doc__)))
