"""Does guidance help a pre-trained policy on a new body? The study of docs/study_pretrained.md.

    python -m benchmarks.study_pretrained --jobs 2              # hours; goes on where it stopped
    python -m benchmarks.study_pretrained --try-out             # its smallest form, minutes

The settings below are those of the page, written down before it ran. Plain runs come first; from
them the gates are computed and written, and where one fails no guided run is trained. Every arm of
every seed leaves one line under `rows`, which may be made on several days and machines: copy
`rows`, `pretraining` and `vae` there first, and give each machine seeds of its own.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Literal

import tyro

from ate_core.errors import AteError
from ate_core.files import replace_text
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
    pretraining_steps=8000,
    vae_steps=1000,
)
"""As the page says."""
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
    """How many; None: all of the page."""
    jobs: int = 1
    """Runs at the same time, one process each."""
    until: Literal["pretraining", "gates", "end"] = "end"
    """Where to stop: what other machines start from, or what is known before a guided run."""
    try_out: bool = False
    """The smallest form; its numbers mean nothing."""
    despite_gates: bool = False
    """Go on where a gate failed, to learn why; the report says so."""

    @property
    def study(self) -> StudyConfig:
        """The protocol with what may be chosen."""
        usual = TRY_OUT if self.try_out else PROTOCOL
        return dataclasses.replace(
            usual,
            output=self.output or usual.output,
            first_seed=self.first_seed,
            seeds=usual.seeds if self.seeds is None else self.seeds,
            jobs=self.jobs,
        )


def main(config: BenchmarkConfig) -> int:
    """Run what is missing; 0 when done, 1 where a gate stopped it."""
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
        run_jobs(only(make_jobs(study), [PRIOR, pretraining_job(TASK)]), study.jobs)
        return 0

    run_arms(study, rows, BEFORE, encoders=True)
    gates = write_gates(study, rows)
    print(*gates, sep="\n", flush=True)
    if config.until == "gates":
        return 0
    if not all(gate.passed for gate in gates) and not config.despite_gates:
        print(
            "A gate failed: no guided run is trained. docs/study_pretrained.md says what may be "
            "changed, in another folder and for other seeds."
        )
        return 1
    run_arms(study, rows, [arm.name for arm in study.arms if arm.name not in BEFORE])
    print(*write_report(study, rows, gates), sep="\n")
    return 0


def settings_of(study: StudyConfig) -> dict[str, object]:
    """What all rows of a folder have in common."""
    ignored = {*HOW_TO_RUN, "seeds", "first_seed"}
    return {key: value for key, value in study.record().items() if key not in ignored}


def run_arms(
    study: StudyConfig, rows: Rows, names: Collection[str], *, encoders: bool = False
) -> None:
    """Make the rows that are missing, whole seeds first.

    Args:
        study: The study.
        rows: Where they are kept.
        names: Arms that may be trained now.
        encoders: Whether to look at the encoders too.
    """
    jobs, wanted = make_jobs(study), []
    for seed in study.training_seeds:
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
    run_jobs(only(jobs, wanted), study.jobs)


def run_arm(study: StudyConfig, rows: Rows, arm: Arm, seed: int) -> None:
    """Train and roll out one arm of one seed, and keep its row."""
    start = {} if arm.scratch else {"start": digest_of(pretrain_policy(study, TASK))}
    for digest in start.values():
        rows.require_one_start(digest)
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
    found = {
        name: alignment_of(train_aligned(study, TASK, seed, variant), policy, seed)
        for name, variant in (("trained", ""), ("untrained", "untrained"))
    }
    rows.write(seed, ENCODERS, found)


def write_gates(study: StudyConfig, rows: Rows) -> list[Gate]:
    """Compute the gates from all seeds whose plain rows are there, and keep them."""
    before = {arm.name: arm for arm in study.arms if arm.name in BEFORE}
    seeds = seeds_with(rows, [ENCODERS, *(arm.folder for arm in before.values())])
    plain, scratch = (
        [success_rate(rows, before[name], seed, study.steps) for seed in seeds] for name in BEFORE
    )
    encoders = [rows.read(seed, ENCODERS) for seed in seeds]
    trained, untrained = ([row[key] for row in encoders] for key in ("trained", "untrained"))
    gates = gates_of(plain, scratch, trained, untrained)
    kept = {"seeds": seeds, "gates": [gate.as_dict() for gate in gates]}
    replace_text(rows.folder / "gates.json", json.dumps(kept, indent=1) + "\n")
    return gates


def success_rate(rows: Rows, arm: Arm, seed: int, step: int) -> float:
    """Share of the rollouts of a checkpoint that succeeded."""
    word = rows.read(seed, arm.folder)["steps"][str(step)]["success"]
    return float(word.count("1") / len(word))


def write_report(study: StudyConfig, rows: Rows, gates: list[Gate]) -> list[str]:
    """Tables, figure and the verdict, of all seeds that are whole; returns the lines."""
    seeds = seeds_with(rows, [arm.folder for arm in study.arms])
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
        f"{len(seeds)} seeds, {study.rollouts} paired starts each.",
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


def seeds_with(rows: Rows, names: Collection[str]) -> list[int]:
    """Seeds that have all of these rows, also those that other machines made."""
    return [seed for seed in rows.seeds() if all(rows.has(seed, name) for name in names)]


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(BenchmarkConfig)))
    except AteError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
