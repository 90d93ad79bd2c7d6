"""`ate models`: which checkpoints there are, what they learned and how they did."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from ate_core.checkpoint_folders import LATEST, find_runs, runs_folder
from ate_core.errors import CheckpointError, UsageError
from ate_core.json_text import UNREADABLE
from training.evaluation.comparison import success_rate

LARGEST_RESULTS = 50_000_000
"""Largest file that is looked into for outcomes of `ate evaluate` [bytes]."""


@dataclass(frozen=True, kw_only=True)
class ModelsConfig:
    """List the checkpoints below some folders.

    Launches, `ate evaluate`, `ate serve` and --init take the name of one, or its path.
    """

    folders: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Where to look; none: the folder of $ATE_RUNS, or ``runs``."""
    json: bool = False
    """Print JSON instead of lines."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One run folder, or a checkpoint that lies alone."""

    name: str
    """Path below the folder that was looked through."""
    kind: str
    """Kind of the network; action_vae for a VAE."""
    task: str
    """What was demonstrated."""
    demonstrations: int
    """How often; 0 where that is not kept."""
    step: int
    """Training steps so far; 0 where that is not kept."""
    guidance: str
    """How its training was guided."""
    reads: str
    """Cameras, or object poses."""
    layout: str
    """Hash of the layout that its data and cell must have."""
    size: int
    """Of its weights [bytes]."""
    trouble: str
    """Why it cannot be used; empty: it looks whole."""
    results: tuple[str, ...]
    """Outcomes of `ate evaluate` found beside it."""


def models(config: ModelsConfig) -> int:
    """Look and print; 1 where a checkpoint cannot be used.

    Raises:
        UsageError: a folder is none.
    """
    roots = config.folders or (runs_folder(),)
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"{root} is no folder: give those that hold run folders")
    found = [model for root in roots for model in find_models(root)]
    if config.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        _print(found, roots)
    return int(any(one.trouble for one in found))


def find_models(root: Path) -> list[Model]:
    """Every run below a folder, with the outcomes that lie there too."""
    results = dict[Path, list[str]]()
    for folder, words in _results(root):
        results.setdefault(folder, []).append(words)
    return [_read(run, root, results) for run in find_runs(root)]


def _read(run: Path, root: Path, results: Mapping[Path, list[str]]) -> Model:
    folder = run if (run / "config.json").is_file() else run / LATEST
    name = str(run.relative_to(root)) if run != root else run.name
    weights = folder / "model.safetensors"
    known = [words for one, kept in results.items() if one.is_relative_to(run.resolve())
             for words in kept]  # fmt: skip
    try:
        config = json.loads((folder / "config.json").read_text())
        training, reads = config["training"], config["model"]
        return Model(
            name=name,
            kind=str(config["kind"]),
            task=str(training.get("task", "")),
            demonstrations=int(training.get("demonstration_count", 0)),
            step=int(training.get("step", 0)),
            guidance=str((training.get("guidance") or {}).get("name", "")),
            reads=_reads(reads),
            layout=str(config["layout_sha256"])[:12],
            size=weights.stat().st_size,
            trouble="",
            results=tuple(known),
        )
    except (OSError, *UNREADABLE, CheckpointError) as error:
        return Model(
            name=name, kind="", task="", demonstrations=0, step=0, guidance="", reads="",
            layout="", size=0, trouble=f"cannot be used: {error!r}", results=tuple(known),
        )  # fmt: skip


def _reads(model: Mapping[str, Any]) -> str:
    """What a network sees beside the robot's state."""
    return ", ".join(model.get("cameras", ())) or ("objects" if model.get("objects") else "")


def _results(root: Path) -> Iterator[tuple[Path, str]]:
    """Checkpoint and outcome, of every file that `ate evaluate` wrote below a folder."""
    for file in sorted(root.rglob("*.json")):
        try:
            if file.stat().st_size > LARGEST_RESULTS:
                continue
            document = json.loads(file.read_text())
            for name, folder in document["checkpoints"].items():
                trials = document["policies"][name]
                rate = success_rate(sum(bool(one["success"]) for one in trials), len(trials))
                yield Path(folder), f"{document['task']}: {rate} ({file.relative_to(root)})"
        except (OSError, *UNREADABLE, UsageError):
            continue  # some other JSON


def _print(found: list[Model], roots: tuple[Path, ...]) -> None:
    if not found:
        print(f"no checkpoint below {', '.join(map(str, roots))}")
    width = max((len(one.name) for one in found), default=0)
    for one in found:
        print(f"{one.name:{width}}  {one.trouble or _sentence(one)}")
        for words in one.results:
            print(f"{'':{width}}  {words}")


def _sentence(model: Model) -> str:
    parts = (
        model.kind,
        f"{model.demonstrations} demonstrations" if model.demonstrations else "",
        f"of {model.task}" if model.task else "",
        f"{model.step} steps" if model.step else "",
        f"guidance {model.guidance}" if model.guidance else "",
        f"sees {model.reads}" if model.reads else "",
        f"layout {model.layout}",
        f"{model.size / 1e6:.1f} MB",
    )
    return ", ".join(part for part in parts if part).replace(", of ", " of ")
