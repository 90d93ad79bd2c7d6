"""Table (b) of docs/clap.md: how far video without actions is aligned with action tokens.

    python -m benchmarks.video_alignment --output runs/alignment
    python -m benchmarks.video_alignment --output runs/pilot --seeds 1 --steps 300 --episodes 6

Episodes, tokens, runs and rows are kept in the output folder: the same command goes on after it
was stopped. It ends with the table and the gates, and fails where one does not hold.
"""

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from ate_core.arm_model import Embodiment
from ate_core.contract import load_cell
from ate_core.files import replace_text
from ate_policy.token_folder import StoredTokens, load_tokens
from ate_sim.embodiments import bodies_of, collect_fast
from ate_sim.world.appearance import USUAL, Appearance, drawn_appearance
from benchmarks.stages import run_stage
from training.align_video import align_video
from training.clap.align_measures import (
    CANDIDATES,
    Probe,
    code_accuracy,
    latents_of,
    motion_latents,
    retrieval,
)
from training.clap.align_storage import StoredAlignment, load_alignment
from training.clap.chunks import BodyMotion, TokenData, make_token_data
from training.clap.features import FeatureConfig
from training.clap.video_data import Windows, window_ticks
from training.clap.video_only import frame_store
from training.configs.align_video import AlignVideoConfig
from training.configs.train_tokens import TrainTokensConfig
from training.data.episode_file import write_episode
from training.data.pretraining import MotionSource
from training.data.trajectory import Trajectory, read_trajectories
from training.evaluation.intervals import FEWEST_RUNS, mean_interval
from training.studies.stages import as_episode
from training.train_tokens import train_tokens

TASKS = ("pick_place", "handover", "pick_bun")
BODY, LOOKS = "six_axes_long", 11
"""The body without actions, and the seed of its colours and light."""
CAMERA = "cam_high"
ALONE: Mapping[str, Any] = {"video_positive": "none", "weight_distance": 0.0}
"""Nothing but the contrast aligns, and that of the robot's windows alone."""
ARMS: Mapping[str, Mapping[str, Any]] = {
    "reconstruction": ALONE | {"weight_contrast": 0.0},
    "contrastive": ALONE,
    "with distance": {"video_positive": "none"},
    "with teacher": {"video_positive": "teacher", "weight_distance": 0.0},
    "labels shuffled": ALONE | {"shuffle_labels": True},
    "no sparsity": ALONE | {"weight_sparse": 0.0},
}
"""Changes of the command's options; frames swapped is the contrastive run, looked at otherwise."""
SWAPPED = "frames swapped"
EVERY = 5
"""One of so many windows is measured: neighbours say nearly the same."""
GATE_VIDEO, GATE_ROBOT = 5.0, 20.0
"""Least gain of the contrastive arm over reconstruction [points of top-1]."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Alignment of video with action tokens, on two simulated bodies."""

    output: Path
    """Folder of episodes, runs and rows."""
    tasks: tuple[str, ...] = TASKS
    """Tasks of the episodes."""
    episodes: int = 20
    """Of each task and body to learn from."""
    judged: int = CANDIDATES
    """Episodes of each body to judge by, over all tasks."""
    arms: tuple[str, ...] = tuple(ARMS)
    """Arms to train."""
    seeds: int = 5
    """Training runs per arm."""
    steps: int = 600
    """Of each run."""
    token_steps: int = 3000
    """Of the action tokens."""
    batch: int = 32
    """Windows of the robot, and of video, per step."""


Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Episodes that nothing was learned from."""

    name: str
    """robot or video."""
    windows: Windows
    """With the true motion, for scoring only."""


def main(options: Options) -> int:
    """Make what is missing, then print."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    rows = list(all_rows(options))
    gates = judge(rows)
    lines = [*table(rows), "", *gates]
    replace_text(options.output / "table.md", "\n".join(lines) + "\n")
    print("\n".join(lines))
    return int(any("does not hold" in line for line in gates))


def all_rows(options: Options) -> Iterator[Row]:
    """One row per arm and seed; all arms once, before any is repeated."""
    tokens = make_tokens(options)
    stored = load_tokens(tokens)
    judged = [judged_windows(options, stored, name) for name in ("robot", "video")]
    learned = known_windows(record(options, "robot"), stored, is_video=False)
    for seed in range(options.seeds):
        for arm in options.arms:
            run = options.output / "runs" / f"{arm.replace(' ', '_')}_{options.steps}_seed{seed}"
            names = [arm, SWAPPED] if arm == "contrastive" else [arm]
            for name in names:
                file = run.with_name(f"{run.name}{'_swapped' if name == SWAPPED else ''}.json")
                if not file.is_file():
                    aligned = train(options, tokens, arm, seed, run)
                    row = measured(aligned, stored, judged, learned, swap=name == SWAPPED)
                    row |= {"arm": name, "seed": seed, "steps": options.steps}
                    replace_text(file, json.dumps(row, indent=1) + "\n")
                    print(f"{name}, seed {seed}: {row['video']}", flush=True)
                yield json.loads(file.read_text())


def record(options: Options, name: str) -> Path:
    """Successful episodes of a body: robot or video to learn from, with _judged to judge by."""
    folder = options.output / "episodes" / name
    is_video, is_judged = name.startswith("video"), name.endswith("_judged")
    body, looks = body_of(is_video)
    wanted = -(-options.judged // len(options.tasks)) if is_judged else options.episodes
    cell = load_cell(hardware="sim")
    first = 1_000_000 * (1 + is_video) + 500_000 * is_judged
    for number, task in enumerate(options.tasks):
        start = first + 10_000 * number
        for index in range(number * wanted, (number + 1) * wanted):
            path = folder / f"episode_{index:06d}.hdf5"
            note = path.with_suffix(".start")  # so that the next one goes on behind it
            if path.is_file():
                start = int(note.read_text()) + 1
                continue
            made = None
            while made is None or not made.success:
                [made] = collect_fast(
                    task, [start], cameras=(CAMERA,), embodiment=body, looks=looks
                )
                start += 1
            folder.mkdir(parents=True, exist_ok=True)
            replace_text(note, f"{start - 1}\n")
            write_episode(path, as_episode(made, cell))
    return folder


def body_of(is_video: bool) -> tuple[Embodiment | None, Appearance]:
    """Body and looks."""
    return (bodies_of()[BODY], drawn_appearance(LOOKS)) if is_video else (None, USUAL)


def make_tokens(options: Options) -> Path:
    """Action tokens of the robot's episodes; one run for all."""
    run = options.output / "tokens"
    config = TrainTokensConfig(
        output=run, episodes=(record(options, "robot"),), steps=options.token_steps
    )
    run_stage(train_tokens, config)
    return run


def train(options: Options, tokens: Path, arm: str, seed: int, run: Path) -> StoredAlignment:
    """One run of an arm."""
    config = AlignVideoConfig(
        output=run,
        tokens=tokens,
        episodes=(record(options, "robot"),),
        videos=(record(options, "video"),),
        steps=options.steps,
        batch=options.batch,
        seed=seed,
        **ARMS[arm],
    )
    run_stage(align_video, config)
    return load_alignment(run)


def judged_windows(options: Options, tokens: StoredTokens, name: str) -> Judged:
    """Windows of a body with its true motion, by that body's kinematics."""
    folder = record(options, f"{name}_judged")
    return Judged(name=name, windows=known_windows(folder, tokens, is_video=name == "video"))


def known_motion(
    folder: Path, tokens: StoredTokens, *, is_video: bool
) -> tuple[list[Trajectory], TokenData]:
    """Episodes of a folder, and what their arms did, in the units of the tokens."""
    trajectories = read_trajectories(folder)
    source = MotionSource(
        folder.name,
        [one.action for one in trajectories],
        [one.name for one in trajectories],
        states=[one.state for one in trajectories],
    )
    body = BodyMotion(source=source, cell=load_cell(hardware="sim"), body=body_of(is_video)[0])
    data = make_token_data([body], "tool", tokens.identity.horizon, "every-fifth")
    return trajectories, dataclasses.replace(data, statistics=tokens.checkpoint.statistics)


def known_windows(folder: Path, tokens: StoredTokens, *, is_video: bool) -> Windows:
    """Windows of all episodes of a folder, with their motion."""
    trajectories, data = known_motion(folder, tokens, is_video=is_video)
    frames = frame_store(
        [one.images[CAMERA] for one in trajectories],
        [one.first_image for one in trajectories],
        FeatureConfig(),
    )
    ticks = window_ticks(data.episode, tokens.identity.horizon)[::EVERY]
    return Windows(
        frames=frames,
        ticks=ticks,
        episode=data.episode[ticks],
        chunks=data.normalised()[ticks],
        idle=data.still[ticks],
    )


def measured(
    aligned: StoredAlignment,
    tokens: StoredTokens,
    judged: Sequence[Judged],
    learned: Windows,
    *,
    swap: bool,
) -> Row:
    """Everything that is told of one run; probes are fitted on the windows it learned from."""
    horizon = tokens.identity.horizon
    known = latents_of(aligned.model, aligned.features, learned, horizon)
    assert learned.chunks is not None
    probes = {"z_a": Probe(known.z_a, learned.chunks), "z_i": Probe(known.z_i, learned.chunks)}
    row: Row = {}
    for one in judged:
        windows = one.windows
        assert windows.chunks is not None and windows.idle is not None
        found = latents_of(aligned.model, aligned.features, windows, horizon, swap=swap)
        references, codes = motion_latents(tokens.model, windows)
        space, draws = aligned.model.space, torch.Generator().manual_seed(0)
        top1, candidates = retrieval(found.z_a, references, windows, space, draws)
        row[one.name] = {
            "top1": 100.0 * top1,
            "candidates": candidates,
            "r2_a": probes["z_a"].r2(found.z_a, windows.chunks),
            "r2_i": probes["z_i"].r2(found.z_i, windows.chunks),
            **code_accuracy(found.codes, codes, windows.idle),
        }
    return row


def table(rows: Sequence[Row]) -> list[str]:
    """A line per arm and body: means over seeds, with Student's interval of top-1."""
    lines = [
        "| arm | body | runs | top-1 [%] (of) | R², z_a | R², z_i | codes right (most frequent) |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, own in by_arm(rows).items():
        for body in ("robot", "video"):
            values = {k: float(np.mean([row[body][k] for row in own])) for k in own[0][body]}
            interval = _words([row[body]["top1"] for row in own])
            lines.append(
                f"| {arm} | {body} | {len(own)} | {values['top1']:.1f}{interval} "
                f"({values['candidates']:.0f}) | {values['r2_a']:.2f} | {values['r2_i']:.2f} | "
                f"{100 * values['accuracy']:.1f} % ({100 * values['majority']:.1f} %) |"
            )
    return lines


def judge(rows: Sequence[Row]) -> list[str]:
    """The gates that were fixed before the first run."""
    lines = []
    for name, body, least in (
        ("without actions", "video", GATE_VIDEO),
        ("RM75", "robot", GATE_ROBOT),
    ):
        gains = differences(rows, "contrastive", "reconstruction", body)
        interval = mean_interval(gains, fewest=FEWEST_RUNS)
        told = f"contrastive over reconstruction, body {name}: {_gain(gains, interval)}, "
        told += f"at least {least:g} points and above 0: "
        holds = bool(interval) and float(np.mean(gains)) >= least and interval[0] > 0.0  # type: ignore[index]
        lines.append(told + _verdict(holds, judged=interval is not None))
    gains = differences(rows, "labels shuffled", "reconstruction", "video")
    interval = mean_interval(gains, fewest=FEWEST_RUNS)
    holds = bool(interval) and (float(np.mean(gains)) <= 0.0 or interval[0] <= 0.0)  # type: ignore[index]
    told = f"labels shuffled over reconstruction: {_gain(gains, interval)}, not above 0: "
    return [*lines, told + _verdict(holds, judged=interval is not None)]


def differences(rows: Sequence[Row], one: str, other: str, body: str) -> list[float]:
    """Of top-1, one for each seed that both arms have."""
    arms = {arm: {row["seed"]: row for row in own} for arm, own in by_arm(rows).items()}
    first, second = arms.get(one, {}), arms.get(other, {})
    seeds = sorted(set(first) & set(second))
    return [first[seed][body]["top1"] - second[seed][body]["top1"] for seed in seeds]


def by_arm(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of each arm, in the order in which arms came."""
    arms: dict[str, list[Row]] = {}
    for row in rows:
        arms.setdefault(row["arm"], []).append(row)
    return arms


def _gain(gains: Sequence[float], interval: tuple[float, float] | None) -> str:
    if not gains:
        return "no runs"
    told = f"{np.mean(gains):+.1f}"
    return told if interval is None else f"{told} ({interval[0]:+.1f} to {interval[1]:+.1f})"


def _words(values: Sequence[float]) -> str:
    interval = mean_interval(values, fewest=FEWEST_RUNS)
    return "" if interval is None else f" ({interval[0]:.1f} to {interval[1]:.1f})"


def _verdict(holds: bool, *, judged: bool) -> str:
    if not judged:
        return "not judged, too few runs"
    return "holds" if holds else "does not hold"


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options, description=__doc__)))
