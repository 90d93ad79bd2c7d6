"""Does guidance help a pre-trained policy on a new body? The study of docs/study_pretrained.md.

    python -m benchmarks.study_pretrained --jobs 2 --policy flow   # an hour
    python -m benchmarks.study_pretrained --jobs 2              # hours; goes on where it stopped
    python -m benchmarks.study_pretrained --try-out             # its smallest form, minutes

The settings below are those of the page, written down before it ran. Plain runs come first; from
those of all seeds the gates are computed and written, and where one fails no guided run is
trained. Nothing is reported before all seeds are whole. Every arm of every seed leaves one line
under `rows`, which may be made on several days and machines: copy `rows`, `pretraining` and `vae`
there first, and give each machine seeds of its own.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import tyro

from ate_core.errors import AteError, UsageError
from ate_core.files import replace_text
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.models.rdt_entry import RdtOptions
from training.configs.output_folder import only_writer
from training.configs.study import HOW_TO_RUN, Arm, StudyConfig
from training.objectives.guidance import PLAIN
from training.studies.alignment import alignment_of
from training.studies.gates import Gate, gates_of, verdict
from training.studies.report import Outcomes, draw, tables
from training.studies.rows import ENCODERS, Rows, digest_of, pack, unpack
from training.studies.stages import (
    pretrain_policy,
    read_trials,
    roll_out_checkpoints,
    rollouts_file,
    train_aligned,
    train_policy,
    train_prior,
)
from training.studies.statistics import contrast
from training.study import (
    PRIOR,
    Job,
    arm_job,
    make_jobs,
    only,
    open_study,
    pretraining_job,
    run_jobs,
    vae_job,
)

TASK = "use_toaster"
"""Two arms; neither task nor body was in the pre-training."""
SCRATCH, PAPER, UNTRAINED, RANDOM = "none:scratch", "paper", "paper:untrained", "random"
BEFORE = (PLAIN, SCRATCH)
"""Arms that the gates are computed from; no guidance is in them."""
GUIDED = (PAPER, "reference", RANDOM, UNTRAINED, "anchor")
"""Arms that are trained behind the gates."""
PROTOCOL = StudyConfig(
    output=Path("runs/study_pretrained"),
    tasks=(TASK,),
    pretrained=(TASK,),
    guidance=(*BEFORE, *GUIDED),
    statistics="init",
    policy=RdtOptions(preset="small"),
    seeds=12,
    demonstrations=15,
    steps=600,
    checkpoints=(200, 400),
    rollouts=100,
    early_rollouts=50,
    limit=15.0,
    pretraining_tasks=("pick_place", "handover", "pick_bun", "cook_bun"),
    pretraining_bodies=("six_axes", "six_axes_short", "six_axes_long", "seven_axes_long"),
    pretraining_demonstrations=2000,
    pretraining_steps=32_000,
    vae_steps=1000,
)
"""As the page says."""
FLOW = dataclasses.replace(
    PROTOCOL,
    output=Path("runs/study_pretrained_flow"),
    policy=FlowOptions(preset="small"),
    pretraining_steps=20_000,
)
"""The same with a network that predicts velocities."""
TRY_OUT = dataclasses.replace(
    PROTOCOL,
    output=Path("runs/study_pretrained_try_out"),
    guidance=(*BEFORE, PAPER, UNTRAINED),
    policy=RdtOptions(preset="tiny"),
    seeds=2,
    demonstrations=2,
    steps=4,
    checkpoints=(2,),
    rollouts=2,
    early_rollouts=1,
    limit=0.5,
    pretraining_demonstrations=16,
    pretraining_steps=4,
    vae_motions=4,
    vae_steps=2,
)
"""To see that everything runs; its numbers mean nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """The study of docs/study_pretrained.md; run the same command again to go on."""

    output: Path | None = None
    """Folder of demonstrations, networks and rollouts (about 3 GB); None: under runs/."""
    rows: Path | None = None
    """Folder of the results, one line for each arm and seed; None: `rows` in `output`."""
    first_seed: int = 0
    """First seed that this machine makes."""
    seeds: int | None = None
    """How many; None: all of the page from the first one on."""
    broken: tuple[int, ...] = ()
    """Seeds in which a run broke: left out for all arms, and named in the report."""
    jobs: int = 1
    """Runs at the same time, one process each."""
    until: Literal["pretraining", "gates", "end"] = "end"
    """Where to stop: what other machines start from, or what is known before a guided run."""
    policy: Literal["rdt", "flow"] = "rdt"
    """Which of the two studies of the page; `try_out` is of the first."""
    try_out: bool = False
    """The smallest form; its numbers mean nothing."""
    despite_gates: bool = False
    """Go on where a gate failed, to learn why; the report says so."""

    @property
    def study(self) -> StudyConfig:
        """The protocol with what may be chosen."""
        usual, first = self.protocol, self.first_seed
        seeds = usual.seeds - first if self.seeds is None else self.seeds
        if not 0 <= first < first + seeds <= usual.seeds:
            raise UsageError(
                f"seeds {first} to {first + seeds - 1} are asked for, those of the page are 0 to "
                f"{usual.seeds - 1}"
            )
        return dataclasses.replace(
            usual,
            output=self.output or usual.output,
            first_seed=first,
            seeds=seeds,
            jobs=self.jobs,
        )

    @property
    def protocol(self) -> StudyConfig:
        """What is written down."""
        if self.try_out:
            return TRY_OUT
        return FLOW if self.policy == "flow" else PROTOCOL

    @property
    def reported(self) -> list[int]:
        """Seeds of which nothing is told before all of them are whole."""
        return [seed for seed in self.protocol.training_seeds if seed not in self.broken]


def main(config: BenchmarkConfig) -> int:
    """Run what is missing; 0 when done, or other seeds are awaited, 1 where a gate stopped it."""
    study = config.study
    rows = Rows(folder=config.rows or study.output / "rows")
    open_study(study)
    with only_writer(study.output, f"another study writes to {study.output}"):
        return _run(config, rows)


def _run(config: BenchmarkConfig, rows: Rows) -> int:
    """Run what is missing in a folder that no other process writes to."""
    study = config.study
    rows.open(settings_of(study))
    if config.until == "pretraining":
        run_jobs(only(make_jobs(study), [PRIOR, pretraining_job(TASK)]), study.jobs, study.threads)
        return 0

    mine = [seed for seed in study.training_seeds if seed in config.reported]
    run_arms(study, rows, BEFORE, mine, encoders=True)
    if is_unfinished(rows, [ENCODERS, *folders(study, BEFORE)], config.reported, "plain runs"):
        return 0
    gates = write_gates(study, rows, config.reported)
    print(*gates, sep="\n", flush=True)
    if config.until == "gates":
        return 0
    if not all(gate.passed for gate in gates) and not config.despite_gates:
        print(
            "A gate failed: no guided run is trained. docs/study_pretrained.md says what may be "
            "changed, in another folder and for other seeds."
        )
        return 1
    run_arms(study, rows, [arm.name for arm in study.arms if arm.name not in BEFORE], mine)
    if not is_unfinished(rows, [arm.folder for arm in study.arms], config.reported, "all arms"):
        print(*write_report(study, rows, config.reported, gates), sep="\n")
    return 0


def folders(study: StudyConfig, names: Collection[str]) -> list[str]:
    """Rows of these arms."""
    return [arm.folder for arm in study.arms if arm.name in names]


def is_unfinished(rows: Rows, names: Sequence[str], seeds: Sequence[int], what: str) -> bool:
    """Whether some seeds lack some of these rows; says so, and nothing else of them."""
    lacking = [seed for seed in seeds if not all(rows.has(seed, name) for name in names)]
    if lacking:
        there = len(seeds) - len(lacking)
        print(
            f"{what} of {there} of {len(seeds)} seeds are there, those of "
            f"{', '.join(map(str, lacking))} are not: nothing is told before"
        )
    return bool(lacking)


def settings_of(study: StudyConfig) -> dict[str, object]:
    """What all rows of a folder have in common."""
    ignored = {*HOW_TO_RUN, "seeds", "first_seed"}
    return {key: value for key, value in study.record().items() if key not in ignored}


def run_arms(
    study: StudyConfig,
    rows: Rows,
    names: Collection[str],
    seeds: Iterable[int],
    *,
    encoders: bool = False,
) -> None:
    """Make the rows that are missing, whole seeds first.

    Args:
        study: The study.
        rows: Where they are kept.
        names: Arms that may be trained now.
        seeds: Of them.
        encoders: Whether to look at the encoders too.
    """
    jobs, wanted = make_jobs(study), []
    for seed in seeds:
        if encoders and not rows.has(seed, ENCODERS):
            name = f"{TASK}, seed {seed}: {ENCODERS}"
            needs = [vae_job(TASK, seed, variant) for variant in ("", "untrained")]
            jobs[name] = Job(run=partial(look_at_encoders, study, rows, seed), needs=(*needs,))
            wanted.append(name)
        for arm in study.arms:
            if arm.name in names and not rows.has(seed, arm.folder):
                name = arm_job(TASK, seed, arm)
                run = partial(run_arm, study, rows, arm, seed)
                jobs[name] = dataclasses.replace(jobs[name], run=run)
                wanted.append(name)
    run_jobs(only(jobs, wanted), study.jobs, study.threads)


def run_arm(study: StudyConfig, rows: Rows, arm: Arm, seed: int) -> None:
    """Train and roll out one arm of one seed, and keep its row."""
    start = {} if arm.scratch else {"start": digest_of(pretrain_policy(study, TASK))}
    if arm.steered:
        start["prior"] = digest_of(train_prior(study))
    rows.require_one_start(start)
    begin = time.process_time()
    run = train_policy(study, TASK, arm, seed)
    trained = time.process_time()
    roll_out_checkpoints(study, TASK, arm, seed, run)
    rolled_out = time.process_time()
    steps = {
        step: pack(read_trials(rollouts_file(study, TASK, arm, seed, step)))
        for step in study.rolled_out
    }
    cost = {"training": round(trained - begin, 1), "rollouts": round(rolled_out - trained, 1)}
    rows.write(seed, arm.folder, {**start, "steps": steps, "cpu_s": cost})


def look_at_encoders(study: StudyConfig, rows: Rows, seed: int) -> None:
    """Keep where the gradients of the trained and the untrained encoder point."""
    policy = pretrain_policy(study, TASK)
    start = {"start": digest_of(policy), "prior": digest_of(train_prior(study))}
    rows.require_one_start(start)
    found = {
        name: alignment_of(train_aligned(study, TASK, seed, variant), policy, seed)
        for name, variant in (("trained", ""), ("untrained", "untrained"))
    }
    rows.write(seed, ENCODERS, {**start, **found})


def write_gates(study: StudyConfig, rows: Rows, seeds: Sequence[int]) -> list[Gate]:
    """Compute the gates from the plain rows of these seeds, and keep them."""
    before = {arm.name: arm for arm in study.arms if arm.name in BEFORE}
    plain, scratch = (
        [success_rate(rows, before[name], seed, study.steps) for seed in seeds] for name in BEFORE
    )
    encoders = [rows.read(seed, ENCODERS) for seed in seeds]
    trained, untrained = ([row[key] for row in encoders] for key in ("trained", "untrained"))
    gates = gates_of(plain, scratch, trained, untrained)
    kept = {"seeds": [*seeds], "gates": [gate.as_dict() for gate in gates]}
    replace_text(rows.folder / "gates.json", json.dumps(kept, indent=1) + "\n")
    return gates


def success_rate(rows: Rows, arm: Arm, seed: int, step: int) -> float:
    """Share of the rollouts of a checkpoint that succeeded."""
    word = rows.read(seed, arm.folder)["steps"][str(step)]["success"]
    return float(word.count("1") / len(word))


def write_report(
    study: StudyConfig, rows: Rows, seeds: Sequence[int], gates: list[Gate]
) -> list[str]:
    """Tables, figure and the verdict of these seeds; returns the lines."""
    outcomes: Outcomes = {TASK: {arm.name: {} for arm in study.arms}}
    for arm in study.arms:
        for step in study.rolled_out:
            runs = [unpack(rows.read(seed, arm.folder)["steps"][str(step)]) for seed in seeds]
            outcomes[TASK][arm.name][step] = runs
    last = {name: steps[study.steps] for name, steps in outcomes[TASK].items()}
    gains = {
        name: contrast(last[PLAIN], runs).success.per_run
        for name, runs in last.items()
        if name != PLAIN
    }
    controls = [name for name in (RANDOM, UNTRAINED) if name in gains]
    lines = [
        f"Seeds {', '.join(map(str, seeds))}, {study.rollouts} paired starts each.",
        "",
        *(f"- {gate}" for gate in gates),
        "",
        *tables(outcomes),
        "",
        verdict(gains, PAPER, controls),
    ]
    replace_text(rows.folder / "study.md", "\n".join(lines) + "\n")
    draw(outcomes, rows.folder / "study.svg")
    return lines


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(BenchmarkConfig)))
    except AteError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
