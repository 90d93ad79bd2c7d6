"""The files of `ate evaluate`: what is kept beside the outcomes, read again and merged."""

import dataclasses
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ate_core.errors import UsageError
from ate_core.json_text import UNREADABLE
from ate_policy.checkpoint import WEIGHTS, files_sha256
from training.studies.rollout import Trial

Outcomes = dict[str, list[Trial]]
"""Rollouts by policy."""
Hashes = dict[str, dict[str, str]]
"""SHA-256 of the files that decide the chunks of a checkpoint, by checkpoint and file."""
FORMAT = 2
"""Of a file; 1, which said none, called the chunk mode `rtc` what is `rtc_jacobian` today."""
MODES_OF_BEFORE = {"rtc": "rtc_jacobian", "rtc_direct": "rtc"}
"""Chunk mode in a file of format 1 -> its name today."""
PACKAGES = ("ate-stack", "mujoco", "numpy", "torch")
"""Software that decides how a rollout goes."""


def versions() -> dict[str, str]:
    """Versions of the software here; what is not installed is left out."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What is rolled out, as it was when it was loaded."""

    folders: dict[str, str]
    """Checkpoint folder by name."""
    hashes: Hashes

    @classmethod
    def of(cls, folders: Mapping[str, Path]) -> "Weights":
        """Read them; folders may go away while rollouts last."""
        return cls(
            folders={name: str(folder) for name, folder in folders.items()},
            hashes={name: files_sha256(folder) for name, folder in folders.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Outcomes with all that decides them."""

    files: tuple[Path, ...]
    """Where they were read from."""
    settings: dict[str, Any]
    """Options that must be equal for outcomes to be pooled."""
    hashes: Hashes
    """Empty, or of the weights alone, in files of before."""
    versions: dict[str, str]
    """Software, by name; several versions joined by a comma."""
    conditions: dict[str, Outcomes]
    """Rollouts by perturbation and policy; usual starts are ``none``."""
    aborted: dict[str, int] = dataclasses.field(default_factory=dict)
    """Rollouts by policy that something else ended; none of them is among the outcomes."""
    session: str = ""
    """Of blinded rollouts, whose starts are its own, numbered from 1; empty: starts are seeds."""

    @property
    def usual(self) -> Outcomes:
        """Rollouts from usual starts."""
        return self.conditions["none"]


def as_document(
    settings: Mapping[str, Any],
    weights: Weights,
    outcomes: Mapping[str, Sequence[Trial]],
    perturbed: Mapping[str, Mapping[str, Sequence[Trial]]],
) -> dict[str, Any]:
    """What `ate evaluate` writes."""
    return {
        "format": FORMAT,
        **settings,
        "checkpoints": weights.folders,
        "hashes": weights.hashes,
        "versions": versions(),
        "policies": _plain(outcomes),
        "perturbed": {words: _plain(policies) for words, policies in perturbed.items()},
    }


def pooled_document(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as a file again."""
    seeds = [trial.seed for trials in evaluation.usual.values() for trial in trials]
    return {
        "format": FORMAT,
        **evaluation.settings,
        "first_seed": min(seeds, default=0),
        "hashes": evaluation.hashes,
        "versions": evaluation.versions,
        "aborted": evaluation.aborted,
        **({"session": evaluation.session} if evaluation.session else {}),
        "policies": _plain(evaluation.usual),
        "perturbed": {w: _plain(p) for w, p in evaluation.conditions.items() if w != "none"},
    }


def _plain(outcomes: Mapping[str, Sequence[Trial]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [dataclasses.asdict(one) for one in trials] for name, trials in outcomes.items()}


_NO_SETTING = {
    "format",
    "checkpoints",
    "hashes",
    "versions",
    "policies",
    "perturbed",
    "first_seed",
    "aborted",
    "session",
}


def read_evaluation(file: Path) -> Evaluation:
    """Outcomes of one file.

    Raises:
        UsageError: it is not of `ate evaluate`, or damaged.
    """
    try:
        document = json.loads(file.read_text())
        conditions = {"none": _trials(document["policies"])}
        for words, policies in document.get("perturbed", {}).items():
            conditions[words] = _trials(policies)
        return Evaluation(
            files=(file,),
            settings=_settings(document),
            hashes=read_hashes(document.get("hashes", {})),
            versions=dict(document.get("versions", {})),
            conditions=conditions,
            aborted=dict(document.get("aborted", {})),
            session=str(document.get("session", "")),
        )
    except (OSError, *UNREADABLE) as error:
        raise UsageError(
            f"{file} is not a whole file of `ate evaluate` ({error!r}): give its --output"
        ) from None


def read_hashes(kept: Mapping[str, Any]) -> Hashes:
    """Hashes as they are kept; one of before is of the weights alone."""
    return {name: {WEIGHTS: of} if isinstance(of, str) else dict(of) for name, of in kept.items()}


def _settings(document: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a file in today's words."""
    settings = {k: v for k, v in document.items() if k not in _NO_SETTING}
    mode = settings.get("chunk_mode")
    if document.get("format", 1) < FORMAT and mode is not None:
        settings["chunk_mode"] = MODES_OF_BEFORE.get(mode, mode)
    return settings


def _trials(policies: Mapping[str, Sequence[Mapping[str, Any]]]) -> Outcomes:
    known = {field.name for field in dataclasses.fields(Trial)}
    return {
        name: [Trial(**{k: v for k, v in one.items() if k in known}) for one in trials]
        for name, trials in policies.items()
    }


def worst(trials: Iterable[Trial], count: int) -> list[Trial]:
    """Rollouts that failed with the lowest scores, lowest first; fewer where fewer failed."""
    failed = [trial for trial in trials if not trial.success]
    return sorted(failed, key=lambda trial: (trial.score, trial.seed))[:count]


def video_of(output: Path, policy: str, seed: int) -> Path:
    """Where the film of a rollout lies, beside the file of its evaluation."""
    return output.parent / f"{output.stem}_videos" / f"{policy}_{seed}.mp4"


def why_apart(first: Evaluation, second: Evaluation) -> str:
    """Why two evaluations must not be pooled; empty: they may."""
    for name in sorted(set(first.settings) | set(second.settings)):
        one, other = first.settings.get(name), second.settings.get(name)
        if name == "cell_sha256" and None in (one, other):  # a file of before does not tell it
            continue
        if one != other:
            return f"{name} is {one} and {other}"
    if first.settings.get("stop_early"):
        return "stop_early chose the number of rollouts of each"
    if not (first.hashes and second.hashes):
        return "the weights of one have no hash, as files of before"
    if first.hashes != second.hashes:
        apart = _pairs(first.hashes) ^ _pairs(second.hashes)
        names = sorted({f"{file} of {name}" for name, file, _ in apart})
        return f"{', '.join(names)} differ, or have a hash in one alone, as in files of before"
    shapes = [{w: sorted(p) for w, p in one.conditions.items()} for one in (first, second)]
    return "" if shapes[0] == shapes[1] else "policies or perturbations differ"


def _pairs(hashes: Hashes) -> set[tuple[str, str, str]]:
    return {(name, *pair) for name, files in hashes.items() for pair in files.items()}


def pool(evaluations: Sequence[Evaluation]) -> Evaluation:
    """One evaluation of several, as machines that shared the starts left them.

    A start that two of them rolled out counts once; where its outcomes differ, none is believed.
    Starts of blinded sessions are others in each session, and are numbered on.

    Raises:
        UsageError: they must not be pooled, or contradict each other.
    """
    first = evaluations[0]
    for other in evaluations[1:]:
        if why := why_apart(first, other):
            raise UsageError(f"{_names(first)} and {_names(other)} cannot be merged: {why}")
    evaluations = _numbered_on(evaluations)
    conditions: dict[str, Outcomes] = {}
    for words, policies in first.conditions.items():
        conditions[words] = {
            name: _pooled([(one, one.conditions[words][name]) for one in evaluations], name)
            for name in policies
        }
    every: dict[str, set[str]] = {}
    for one in evaluations:
        for package, version in one.versions.items():
            every.setdefault(package, set()).update(version.split(", "))
    return Evaluation(
        files=tuple(file for one in evaluations for file in one.files),
        settings=first.settings,
        hashes=first.hashes,
        versions={package: ", ".join(sorted(found)) for package, found in every.items()},
        conditions=conditions,
        aborted={
            name: sum(one.aborted.get(name, 0) for one in evaluations) for name in first.usual
        },
        session="+".join(dict.fromkeys(one.session for one in evaluations if one.session)),
    )


def _numbered_on(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The evaluations, with starts of each blinded session behind those of the one before."""
    first: dict[str, int] = {}  # session -> number before its first start
    end, numbered = 0, []
    for one in evaluations:
        starts = [trial.seed for trials in one.usual.values() for trial in trials]
        if one.session and one.session not in first:
            first[one.session] = end
            end += max(starts, default=0)
        begin = first.get(one.session, 0)
        conditions = {
            words: {
                name: [dataclasses.replace(trial, seed=begin + trial.seed) for trial in trials]
                for name, trials in policies.items()
            }
            for words, policies in one.conditions.items()
        }
        numbered.append(dataclasses.replace(one, conditions=conditions))
    return numbered


def _pooled(runs: Sequence[tuple[Evaluation, Sequence[Trial]]], name: str) -> list[Trial]:
    kept: dict[int, tuple[Evaluation, Trial]] = {}
    for source, trials in runs:
        for trial in trials:
            before = kept.setdefault(trial.seed, (source, trial))
            if (before[1].success, before[1].score) != (trial.success, trial.score):
                raise UsageError(
                    f"{name} from start {trial.seed}: score {before[1].score:g} in "
                    f"{_names(before[0])}, {trial.score:g} in {_names(source)}: roll out that "
                    "start again on one machine and leave the other file out"
                )
    return [kept[seed][1] for seed in sorted(kept)]


def _names(evaluation: Evaluation) -> str:
    return ", ".join(map(str, evaluation.files))


def group(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Pool what may be pooled; what may not stays apart."""
    groups: list[list[Evaluation]] = []
    for one in evaluations:
        for kept in groups:
            if not why_apart(kept[0], one):
                kept.append(one)
                break
        else:
            groups.append([one])
    return [pool(kept) for kept in groups]
