"""`ate demo`: the whole loop on the simulated cell, as the commands a person would type."""

import json
import math
import os
import shlex
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ate_bringup.processes import require_guidance, require_policy, require_simulated_task
from ate_core.child import child_command, child_environment
from ate_core.contract import load_cell
from ate_core.errors import (
    AteError,
    UsageError,
    require_at_least_one,
    require_not_negative,
    require_seed,
)

STOP_TIMEOUT = 5.0
"""Time a command gets to stop after Ctrl-C before it is killed [s]."""
FIRST_ROLLOUT = 1000
"""Seed of the first rollout, as `ate evaluate` has it."""
TIMINGS = "timings.json"
"""File of the stage timings in the run folder."""
SOME_REJECTED = 1
"""Exit code of ``ate convert`` where bags were rejected."""
ENOUGH = 0.5
"""Share of the demonstrations with which the loop goes on."""

console = Console()


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Teleoperate, convert, train two VAEs, fine-tune plain and guided, evaluate, report."""

    task: str = "pick_place"
    """Task to demonstrate and learn; an unknown one is answered with the list."""
    vision: bool = False
    """Train a policy on the cameras instead of object poses; takes longer."""
    demonstrations: int = 40
    """Episodes that the scripted operators teleoperate."""
    rollouts: int = 20
    """Rollouts per policy in the fast simulated cell."""
    node_rollouts: int = 3
    """Rollouts per policy through all nodes."""
    seed: int = 0
    """Seed of the first demonstration and of all training."""
    policy: str = "flow"
    """Network that is trained, of its small size; an unknown one is answered with the list."""
    guidance: str = "paper"
    """Guidance compared with plain fine-tuning; an unknown one is answered with the list."""
    finetune_steps: int = 0
    """Training steps of each policy; 0: enough for the task."""
    vae_steps: int = 1000
    """Training steps of each VAE stage."""
    motions: int = 120
    """Generated episodes of other embodiments for the first VAE."""
    recordings: tuple[Path, ...] = ()
    """Folders of real two-arm recordings that the first VAE learns from besides."""
    cell: str | None = None
    """cell.yaml, or the name of a packaged cell; None: the packaged one."""
    output: Path | None = None
    """Run folder; default: the first free one of runs/demo, runs/demo-2, ..."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One command of the loop."""

    name: str
    """What it does, for people."""
    words: tuple[str, ...]
    """Words behind ``ate``."""
    episodes: Path | None = None
    """Folder of the episodes that it converts; None for what converts none."""
    enough: int = 0
    """Episodes with which the loop goes on though some bags were rejected."""


class DemoError(AteError):
    """A stage of the demo has failed."""


def demo(config: DemoConfig) -> int:
    """Run all stages and print where the report is."""
    _check(config)
    folder = _run_folder(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    told = escape(f"{config.task}, results in {folder}")
    console.print(f"[bold]The loop on the simulated cell[/]: {told}")
    timings: list[dict[str, object]] = []
    begin = time.monotonic()
    for stages in plan(config, folder):
        timings += _run(stages, folder)
        _write_timings(folder, config, timings)
    total = _true_seconds(time.monotonic() - begin)
    report = escape(str(folder / "report.html"))
    console.print(f"[bold green]done[/] in {total / 60:.1f} min: open {report}")
    return 0


def _check(config: DemoConfig) -> None:
    """Refuse before the first stage what a later one would refuse.

    Raises:
        AteError: unknown task, guidance or network, cell that cannot be simulated, missing
            recordings, counts below one, or rollouts that begin as demonstrations do.
    """
    _check_counts(config)
    require_simulated_task(config.task)
    require_guidance(config.guidance)
    require_policy(config.policy)
    load_cell(config.cell, "sim")
    for folder in config.recordings:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder: give --recordings one with recorded motion")


def _check_counts(config: DemoConfig) -> None:
    require_at_least_one(
        demonstrations=config.demonstrations,
        rollouts=config.rollouts,
        vae_steps=config.vae_steps,
        motions=config.motions,
    )
    require_not_negative(
        node_rollouts=config.node_rollouts,
        finetune_steps=config.finetune_steps,
    )
    require_seed(seed=config.seed)
    demonstrated = range(config.seed, config.seed + config.demonstrations)
    last = FIRST_ROLLOUT + max(config.rollouts, config.node_rollouts) - 1
    if config.seed <= last and demonstrated[-1] >= FIRST_ROLLOUT:
        raise UsageError(
            f"demonstrations have the seeds {config.seed} to {demonstrated[-1]}, rollouts "
            f"{FIRST_ROLLOUT} to {last}: success there may be memory; give another --seed"
        )


def plan(config: DemoConfig, folder: Path) -> list[tuple[Stage, ...]]:
    """The stages in order; those within one tuple run side by side."""
    vae1, vae2 = folder / "vae_pretraining", folder / "vae_adaptation"
    plain, guided = folder / "plain", folder / "guided"
    episodes = str(folder / "episodes")
    collect = Stage(
        name="teleoperate",
        words=(
            *("launch", "ate_teleop", "dual_operator.launch.py", "hardware:=sim"),
            *(f"task:={config.task}", f"seed:={config.seed}"),
            *(f"episodes:={config.demonstrations}", f"output:={folder / 'bags'}"),
            f"report:={folder / 'demonstrations.jsonl'}",
            *_cell_of_launch(config),
        ),
    )
    convert = Stage(
        name="convert",
        words=("convert", "--bags", str(folder / "bags"), "--output", episodes, "--jobs", "2"),
        episodes=folder / "episodes",
        enough=math.ceil(config.demonstrations * ENOUGH),
    )
    finetune = (
        *("finetune", "--episodes", episodes, "--seed", str(config.seed)),
        *("--variant", "vision" if config.vision else "state"),
        *("--steps", str(_steps(config))),
    )
    network = f"policy:{config.policy}"
    guidance = (f"guidance:{config.guidance}", "--guidance.vae", str(vae2))
    tune = (
        Stage(name="fine-tune plain", words=(*finetune, "--output", str(plain), network)),
        Stage(
            name="fine-tune guided", words=(*finetune, "--output", str(guided), network, *guidance)
        ),
    )
    evaluate = Stage(
        name="evaluate",
        words=(
            *("evaluate", "--checkpoints", str(plain), str(guided), "--task", config.task),
            *("--episodes", str(config.rollouts), "--output", str(folder / "evaluation.json")),
            *("--video", str(folder / "rollout.mp4")),
            *_cell_of_command(config),
        ),
    )
    report = Stage(name="report", words=("report", "--run", str(folder)))
    vaes = _vae_stages(config, episodes, vae1, vae2)
    stages = [(collect,), (convert,), *((stage,) for stage in vaes), tune, (evaluate,)]
    if config.node_rollouts:
        stages += [(_deploy(config, folder, run),) for run in (plain, guided)]
    return [*stages, (report,)]


def _vae_stages(config: DemoConfig, episodes: str, vae1: Path, vae2: Path) -> tuple[Stage, Stage]:
    vae = ("--steps", str(config.vae_steps), "--seed", str(config.seed))
    recordings = ("--recordings", *map(str, config.recordings)) if config.recordings else ()
    stage1 = Stage(
        name="VAE on pre-training motion",
        words=(
            *("train-vae", "--stage", "1", "--output", str(vae1), *vae, *recordings),
            *("--motions", str(config.motions)),
            *_cell_of_command(config),
        ),
    )
    stage2 = Stage(
        name="VAE on the demonstrations",
        words=(
            *("train-vae", "--stage", "2", "--output", str(vae2), *vae),
            *("--episodes", episodes, "--prior", str(vae1)),
        ),
    )
    return stage1, stage2


def _deploy(config: DemoConfig, folder: Path, run: Path) -> Stage:
    return Stage(
        name=f"deploy {run.name}",
        words=(
            *("launch", "ate_policy", "deploy.launch.py", "hardware:=sim"),
            *(f"task:={config.task}", f"checkpoint:={run}", f"seed:={FIRST_ROLLOUT}"),
            *(f"episodes:={config.node_rollouts}", f"cameras:={str(config.vision).lower()}"),
            f"report:={folder / f'nodes_{run.name}.jsonl'}",
            f"summary:={folder / f'timing_{run.name}.json'}",
            *_cell_of_launch(config),
        ),
    )


def _cell_of_launch(config: DemoConfig) -> tuple[str, ...]:
    return (f"cell:={config.cell}",) if config.cell else ()


def _cell_of_command(config: DemoConfig) -> tuple[str, ...]:
    return ("--cell", config.cell) if config.cell else ()


def _steps(config: DemoConfig) -> int:
    """Enough steps for the task, as measured on the simulated cell."""
    if config.finetune_steps:
        return config.finetune_steps
    if config.vision:
        return 2500
    return {"pick_place": 2000, "cook_bun": 10000}.get(config.task, 5000)


def _run_folder(wanted: Path | None) -> Path:
    if wanted is not None:
        if wanted.exists() and any(wanted.iterdir()):
            raise UsageError(f"{wanted} is not empty: choose another --output or remove it")
        return wanted
    number = 1
    while True:
        folder = Path("runs") / ("demo" if number == 1 else f"demo-{number}")
        if not folder.exists():
            return folder
        number += 1


def _run(stages: tuple[Stage, ...], folder: Path) -> list[dict[str, object]]:
    """Run stages side by side; their output goes to the terminal when there is only one."""
    begin = time.monotonic()
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    processes: list[tuple[Stage, subprocess.Popen[bytes]]] = []
    try:
        for stage in stages:
            console.print(f"[bold]{stage.name}[/]: ate {escape(shlex.join(stage.words))}")
            processes.append((stage, _start(stage, logs, quiet=len(stages) > 1)))
        timings = []
        for stage, process in processes:
            code = process.wait()
            seconds = _true_seconds(time.monotonic() - begin)
            if code != 0 and not _left_enough(stage, code):
                raise DemoError(
                    f"stage '{stage.name}' ended with code {code}: see its messages above or in "
                    f"{logs}, and run `ate {shlex.join(stage.words)} --debug`"
                )
            console.print(f"  {stage.name}: {seconds:.0f} s")
            timings.append({"stage": stage.name, "seconds": seconds, "words": stage.words})
        return timings
    finally:
        _stop([process for _, process in processes])


def _left_enough(stage: Stage, code: int) -> bool:
    """Whether a conversion that rejected some bags left enough episodes; says how many if so."""
    if stage.episodes is None or code != SOME_REJECTED:
        return False
    made = len(list(stage.episodes.glob("episode_*.hdf5")))
    if made < stage.enough:
        return False
    console.print(f"  some bags were rejected, see above: goes on with {made} episodes")
    return True


def _start(stage: Stage, logs: Path, quiet: bool) -> subprocess.Popen[bytes]:
    command = child_command("ate_bringup.cli", stage.words)
    surroundings = {**os.environ, **child_environment()}
    # A session of its own: Ctrl-C reaches the demo alone, which then stops the stage once.
    if not quiet:
        return subprocess.Popen(command, start_new_session=True, env=surroundings)
    with (logs / f"{stage.name.replace(' ', '_')}.log").open("wb") as log:
        return subprocess.Popen(
            command,
            start_new_session=True,
            env=surroundings,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + STOP_TIMEOUT
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _write_timings(folder: Path, config: DemoConfig, timings: list[dict[str, object]]) -> None:
    settings = {key: str(value) for key, value in asdict(config).items()}
    settings["clocks"] = _clock_rate()
    document = {"config": settings, "stages": timings}
    (folder / TIMINGS).write_text(json.dumps(document, indent=1) + "\n")


def _clock_rate() -> str:
    """Seconds told per true second: less than 1 where `benchmarks.slowly` runs the demo."""
    return os.environ.get("SLOW_CLOCK", "1").split()[0]


def _true_seconds(told: float) -> float:
    """What a person's watch says, of a duration by the demo's clocks [s]."""
    return told / float(_clock_rate())
