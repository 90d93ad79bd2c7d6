"""One third-party task from demonstrations to a table: plain against guided fine-tuning.

    python -m benchmarks.third_party.run --task push_cube --output runs/push_cube

The simulator runs in an environment of its own (`environments/setup.sh`); the stack's part are
the commands that users type. A finished step is not repeated: start again after an interruption.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console

from ate_core.control_socket import ControlServer
from ate_core.errors import AteError, UsageError
from ate_policy.policy import load_policy
from benchmarks.third_party.episodes import convert, load_robot
from benchmarks.third_party.policy_service import PolicyService
from benchmarks.third_party.results import contrast, make_table, summarise
from benchmarks.third_party.tasks import TASKS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = HERE / "environments"
"""Where `setup.sh` puts the simulators' environments."""
EVALUATION_SEED = 100_000
"""Seed of the first start of an evaluation; demonstrations use lower ones."""
PRETRAINING_SEED = 50_000
"""Seed of the first start of a pre-training demonstration."""


class BenchmarkError(AteError):
    """A step of a benchmark failed."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Train and compare policies on one task of another simulator."""

    task: Literal["push_cube", "pick_cube", "two_arm_lift"]
    """The task."""
    output: Path
    """Folder for everything that is made."""
    demonstrations: int | None = None
    """Demonstrations; None: usual for the task."""
    motions: int = 50
    """Demonstrations, or generated motions, behind stage 1 of the VAE."""
    vae_steps: int = 1000
    """Optimiser steps of each stage of the VAE."""
    steps: int | None = None
    """Optimiser steps of each policy; None: usual for the task."""
    guidances: tuple[str, ...] = ("none", "paper")
    """Guidance modes of `ate finetune`; the first is the one that the others are compared with."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds; each gives one policy per guidance."""
    trials: int = 50
    """Starts on which every policy is rolled out."""
    jobs: int = 1
    """Policies that are rolled out at once, each in a simulator of its own."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no comparison."""
        for name in ("demonstrations", "motions", "vae_steps", "steps", "trials", "jobs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}, must be at least 1")
        if not self.guidances or not self.seeds:
            raise UsageError("guidances and seeds must not be empty: give at least one of each")


def run(config: RunConfig) -> int:
    """Make every step that is not done yet and print the table."""
    task, folder = TASKS[config.task], config.output
    count, steps = config.demonstrations or task.demonstrations, config.steps or task.steps
    remember(config)

    # motion
    episodes = demonstrate(folder, config.task, count, first_seed=0)
    source: list[object] = ["--cell", HERE / "robots" / f"{task.robot}.yaml"]
    if task.pretraining is None:
        source += ["--motions", config.motions]
    else:
        others = demonstrate(folder, task.pretraining, config.motions, PRETRAINING_SEED)
        source += ["--motions", 0, "--recordings", others]

    # action VAEs
    prior, vae = folder / "vae_stage1", folder / "vae_stage2"
    train("train-vae", prior, config.vae_steps, ["--stage", 1, *source])
    stage2 = ["--stage", 2, "--episodes", episodes, "--prior", prior]
    train("train-vae", vae, config.vae_steps, stage2)

    # policies
    policies = {}
    for seed in config.seeds:
        for guidance in config.guidances:
            policies[_name(guidance, seed)] = folder / "policies" / _name(guidance, seed)
            options = ["--episodes", episodes, "--seed", seed, f"guidance:{guidance}"]
            options += [] if guidance == "none" else ["--guidance.vae", vae]
            train("finetune", policies[_name(guidance, seed)], steps, options)

    # roll-outs
    report(config, roll_out(config, policies))
    return 0


def remember(config: RunConfig) -> None:
    """Note the configuration in the folder; refuse to mix two of them in one."""
    values = dataclasses.asdict(config)
    del values["output"], values["jobs"]  # they change no number
    text = json.dumps(values, indent=1) + "\n"
    file = config.output / "run.json"
    if file.is_file() and file.read_text() != text:
        raise UsageError(f"{file} holds another configuration: choose another --output")
    config.output.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def demonstrate(folder: Path, task: str, count: int, first_seed: int) -> Path:
    """Let the simulator's expert demonstrate a task, and convert what it wrote."""
    raw, episodes = folder / f"raw_{task}", folder / f"episodes_{task}"
    if not episodes.is_dir():
        options = ["--episodes", count, "--first-seed", first_seed, "--output", raw]
        finish(simulate(task, "collect", options))
        partial = folder / f".episodes_{task}"  # beside its final name until all are there
        convert(raw, partial, load_robot(TASKS[task].robot), TASKS[task].instruction)
        partial.rename(episodes)
    return episodes


def train(verb: str, output: Path, steps: int, options: Sequence[object]) -> None:
    """Run `ate train-vae` or `ate finetune`, or go on with it, unless it is done."""
    if (output / f"step_{steps:06d}").is_dir():
        return
    resume = ["--resume"] if (output / "last").exists() else []
    words = [verb, "--output", output, "--steps", steps, *options, *resume]
    command = [sys.executable, "-m", "ate_bringup.cli", *map(str, words)]
    print("ate", *map(str, words), flush=True)
    finish(subprocess.Popen(command))


def roll_out(config: RunConfig, folders: Mapping[str, Path]) -> dict[str, Any]:
    """Let the simulator play all trials of the policies that have not played yet.

    Returns:
        What `play.py` wrote, by policy.
    """
    outcomes = config.output / "outcomes"
    outcomes.mkdir(exist_ok=True)
    files = {name: outcomes / f"{name}.json" for name in folders}
    waiting = [name for name, file in files.items() if not file.is_file()]
    service = PolicyService({name: load_policy(folders[name]) for name in waiting})
    playing: list[subprocess.Popen[bytes]] = []
    # The kernel allows a socket's path about 100 characters: not below the output folder.
    with tempfile.TemporaryDirectory(prefix="ate-") as folder:
        socket = Path(folder) / "policies"
        with ControlServer(socket, service) as server:
            try:
                while waiting or playing:
                    while waiting and len(playing) < config.jobs:
                        name = waiting.pop(0)
                        playing.append(_play(config, name, socket, files[name]))
                    server.wait(0.2)
                    for process in [one for one in playing if one.poll() is not None]:
                        playing.remove(process)
                        finish(process)
            finally:
                for process in playing:
                    process.terminate()
    return {name: json.loads(file.read_text()) for name, file in files.items()}


def _play(config: RunConfig, name: str, socket: Path, output: Path) -> subprocess.Popen[bytes]:
    options = ["--policy", name, "--socket", socket, "--output", output]
    options += ["--episodes", config.trials, "--first-seed", EVALUATION_SEED]
    return simulate(config.task, "roll-out", [*options, "--limit", TASKS[config.task].limit])


def simulate(task: str, command: str, options: Sequence[object]) -> subprocess.Popen[bytes]:
    """Start the simulator's side, see `play.py`, in the environment of its simulator."""
    name = TASKS[task].environment
    python = ENVIRONMENTS / name / ".venv" / "bin" / "python"
    if not python.is_file():
        raise UsageError(
            f"the environment of {name} is not there: run "
            f"`benchmarks/third_party/environments/setup.sh {name}`"
        )
    path = os.pathsep.join(str(ROOT / part) for part in ("", "ros2_ws/src/ate_core"))
    words = ["benchmarks.third_party.play", command, "--task", task, *options]
    return subprocess.Popen(
        [str(python), "-W", "ignore", "-m", *map(str, words)],
        env={**os.environ, "PYTHONPATH": path},
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process of ours; a failure ends the benchmark."""
    if process.wait() != 0:
        words = " ".join(map(str, process.args))
        raise BenchmarkError(f"`{words}` ended with code {process.returncode}: see above")


def report(config: RunConfig, outcomes: Mapping[str, Any]) -> None:
    """Write `results.json` and print the table."""
    trials = {name: outcome["trials"] for name, outcome in outcomes.items()}
    groups = {g: [trials[_name(g, seed)] for seed in config.seeds] for g in config.guidances}
    rates = {name: summarise(one) for name, one in trials.items()}
    pooled = {name: summarise(list(chain(*group))) for name, group in groups.items()}
    first, *others = config.guidances
    contrasts = {other: contrast(groups[first], groups[other]) for other in others}
    document = {
        "config": dataclasses.asdict(config),
        "simulator": next(iter(outcomes.values()))["simulator"],
        "policies": rates,
        "guidances": pooled,
        f"against {first}": contrasts,
    }
    file = config.output / "results.json"
    file.write_text(json.dumps(document, indent=1, default=str) + "\n")
    console = Console()
    console.print(make_table(config.task, {**rates, **pooled}))
    for other, result in contrasts.items():
        console.print(f"{first} against {other}, same starts: {result['text']}")


def _name(guidance: str, seed: int) -> str:
    return f"{guidance}_seed{seed}"


def main() -> int:
    """Run from the command line; errors of the stack become one line."""
    try:
        return run(tyro.cli(RunConfig, prog="python -m benchmarks.third_party.run"))
    except AteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
