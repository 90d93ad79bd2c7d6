"""Table (a) of docs/clap.md: what action tokens keep at how many bits, beside classical coders.

    python -m benchmarks.rate_distortion --recordings FOLDER --output runs/rate
    python -m benchmarks.rate_distortion --recordings FOLDER --output runs/rate --rivals-only

Every row is kept in the output folder when it is done, runs as run folders: the same command goes
on after it was stopped. It ends with the table and the gates, and fails where one does not hold.
"""

import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import tyro

from ate_core.files import replace_text
from ate_policy.models.action_tokens import TokenSpace
from ate_policy.token_folder import load_tokens
from training.clap.chunks import TokenData, load_token_data
from training.clap.compare import RateRow, rival_rows, split_chunks
from training.clap.measures import measure, reconstruct
from training.clap.rate import psnr
from training.configs.train_tokens import Split, TrainTokensConfig
from training.evaluation.intervals import CONFIDENCE, RESAMPLES, mean_interval
from training.train_tokens import train_tokens

CODES, BOOKS = (4, 8, 16), (64, 256)
"""Arms: codes per arm and chunk, and codes to choose from."""
USED = 0.9
"""Share of the codes that must be used on training episodes."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Rate and distortion on recorded motion, in joints from the measured posture."""

    recordings: Path
    """Folder of a LeRobot set of a two-arm robot."""
    output: Path
    """Folder of runs and rows."""
    space: TokenSpace = "relative"
    """relative or absolute."""
    codes: tuple[int, ...] = CODES
    """Codes per arm and chunk."""
    books: tuple[int, ...] = BOOKS
    """Codes to choose from."""
    seeds: int = 3
    """Training runs per arm."""
    steps: int = 3000
    """Of each run."""
    bits: tuple[float, ...] = (32.0, 64.0, 128.0)
    """Of the classical coders, per arm and chunk."""
    rivals_only: bool = False
    """Only the classical coders."""


Row = dict[str, Any]


def main(options: Options) -> int:
    """Make what is missing, then print."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    rivals = [row for split in get_args(Split) for row in _rivals(options, split)]
    tokens = [] if options.rivals_only else list(_tokens(options))
    lines = [*rival_table(rivals), "", *token_table(tokens), "", *(gates := judge(tokens))]
    replace_text(options.output / "table.md", "\n".join(lines) + "\n")
    print("\n".join(lines))
    return int(any("does not hold" in line for line in gates))


def _config(options: Options, split: Split, **changes: Any) -> TrainTokensConfig:
    return TrainTokensConfig(
        output=changes.pop("output", options.output),
        recordings=(options.recordings,),
        space=options.space,
        split=split,
        steps=options.steps,
        **changes,
    )


def _rivals(options: Options, split: Split) -> list[Row]:
    file = options.output / f"rivals_{options.space}_{split}.json"
    if not file.is_file():
        chunks = split_chunks(load_token_data(_config(options, split)), split)
        rows: list[RateRow] = []
        for row in rival_rows(chunks, options.bits, seed=0):
            print(
                f"{split:12} {row.name:36} {row.bits:4.0f} bit {row.held_out:6.2f} dB", flush=True
            )
            rows.append(row)
        replace_text(file, json.dumps([row.as_dict() for row in rows], indent=1) + "\n")
    found: list[Row] = json.loads(file.read_text())
    return found


def _tokens(options: Options) -> Iterator[Row]:
    """One row per run, those of one arm after each other; every fifth episode is held out."""
    data: TokenData | None = None
    for seed in range(options.seeds):  # all arms once, before any is repeated
        for codes in options.codes:
            for book in options.books:
                name = f"{options.space}_{codes}x{book}_{options.steps}_seed{seed}"
                file = options.output / f"{name}.json"
                if not file.is_file():
                    config = _config(
                        options,
                        "every-fifth",
                        output=options.output / name,
                        codes=codes,
                        codebook=book,
                        seed=seed,
                    )
                    _train(config)
                    data = data or load_token_data(config)
                    replace_text(file, json.dumps(_measured(config, data), indent=1) + "\n")
                yield json.loads(file.read_text())


def _train(config: TrainTokensConfig) -> None:
    begun = (config.output / "last").exists()
    if train_tokens(dataclasses.replace(config, resume=begun)) != 0:
        raise SystemExit(130)


def _measured(config: TrainTokensConfig, data: TokenData) -> Row:
    stored = load_tokens(config.output)
    chunks = data.normalised()
    held = chunks[data.held_out]
    made = reconstruct(stored.model, held.flatten(0, 1))[0].unflatten(0, held.shape[:2])
    errors = (made - held).square().flatten(1).mean(1).double().numpy()
    of = data.episode[data.held_out].numpy()
    parts = {
        name: measure(stored.model, chunks[mask].flatten(0, 1)).as_dict()
        for name, mask in (("train", ~data.held_out), ("held_out", data.held_out))
    }
    episodes = [[float(errors[of == one].sum()), int((of == one).sum())] for one in np.unique(of)]
    sizes = {"codes": config.codes, "codebook": config.codebook, "seed": config.seed}
    return {**sizes, "steps": config.steps, **parts, "episodes": episodes}


def rival_table(rows: Sequence[Row]) -> list[str]:
    """The classical coders, a line each."""
    lines = [
        "| coder | split | bits, mean (most) | training [dB] | held out [dB] |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        bits = f"{row['bits']:.0f} ({row['most_bits']:.0f})"
        numbers = f"{row['train']:.1f} | {row['held_out']:.1f}"
        lines.append(f"| {row['name']} | {row['split']} | {bits} | {numbers} |")
    return lines


def token_table(rows: Sequence[Row]) -> list[str]:
    """Action tokens, a line per arm: means over seeds with two kinds of intervals."""
    lines = [
        "| codes | bits | runs | training [dB] | held out [dB] (over runs; over episodes) "
        "| without codes [dB] | codes used |",
        "|---|---|---|---|---|---|---|",
    ]
    for (codes, book), own in _arms(rows).items():
        held = [row["held_out"]["psnr"] for row in own]
        over_runs = _words(mean_interval(held, fewest=3))
        over_episodes = _words(episode_interval(own))
        used = min(row["train"]["used"] for row in own) / book
        lines.append(
            f"| {codes} of {book} | {own[0]['held_out']['bits']:.0f} | {len(own)} "
            f"| {_mean(own, 'train', 'psnr'):.1f} "
            f"| {np.mean(held):.1f} ({over_runs}; {over_episodes}) "
            f"| {_mean(own, 'held_out', 'psnr_unquantised'):.1f} | {100 * used:.0f} % |"
        )
    return lines


def episode_interval(rows: Sequence[Row]) -> tuple[float, float]:
    """Bootstrap over held-out episodes of the PSNR of the runs' mean error."""
    sums = np.mean([[one[0] for one in row["episodes"]] for row in rows], axis=0)
    counts = np.array([one[1] for one in rows[0]["episodes"]])
    drawn = np.random.default_rng(0).integers(len(sums), size=(RESAMPLES, len(sums)))
    errors = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = 0.5 - CONFIDENCE / 2
    low, high = np.quantile(errors, [tail, 1.0 - tail])
    return psnr(float(high)), psnr(float(low))


def judge(rows: Sequence[Row]) -> list[str]:
    """The gates that were fixed before the first run."""
    arms = _arms(rows)
    lines = []
    for book in sorted({book for _, book in arms}):
        held = [
            _mean(own, "held_out", "psnr") for (_, one), own in sorted(arms.items()) if one == book
        ]
        rising = all(later > before for before, later in pairwise(held))
        told = _verdict(rising) if len(held) > 1 else "not judged, one arm"
        lines.append(f"PSNR rises with the codes of {book}: {told}")
    for (codes, book), own in sorted(arms.items()):
        used = min(row["train"]["used"] for row in own) / book
        lines.append(
            f"{codes} of {book}: {100 * used:.0f} % used, at least 90 %: {_verdict(used >= USED)}"
        )
    return lines


def _arms(rows: Sequence[Row]) -> dict[tuple[int, int], list[Row]]:
    arms: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        arms.setdefault((row["codes"], row["codebook"]), []).append(row)
    return dict(sorted(arms.items()))


def _mean(rows: Sequence[Row], part: str, name: str) -> float:
    return float(np.mean([row[part][name] for row in rows]))


def _words(interval: tuple[float, float] | None) -> str:
    return "one or two runs" if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f}"


def _verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options, description=__doc__)))
