"""Rollouts of an evaluation under way: each is on disk as soon as it has ended.

A file of JSON lines beside the output. The first line says what decides the rollouts, every other
one holds a rollout. The same command goes on after a kill; a last line that was cut off is rolled
out again. When the output is written the file is removed.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ate_core.errors import UsageError
from ate_core.json_text import UNREADABLE
from ate_core.locks import ANEW, open_locked
from training.studies.rollout import Trial


def journal_of(output: Path) -> Path:
    """Where the rollouts of an evaluation are kept until its output is written."""
    return output.with_name(output.name + ".partial.jsonl")


class Journal:
    """The open file."""

    def __init__(self, stream: BinaryIO, kept: dict[tuple[str, str, int], Trial]) -> None:
        self._stream, self._kept = stream, kept

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, perturbation: str, policy: str, seed: int) -> Trial | None:
        """A rollout that has ended, None where it has not."""
        return self._kept.get((perturbation, policy, seed))

    def keep(self, policy: str, trial: Trial) -> None:
        """Write a rollout through to the disk.

        Raises:
            OSError: the disk does not take it.
        """
        line = {"policy": policy, "trial": dataclasses.asdict(trial)}
        _write(self._stream, line)
        self._kept[trial.perturbation, policy, trial.seed] = trial


@contextlib.contextmanager
def open_journal(output: Path, decides: Mapping[str, Any]) -> Iterator[Journal]:
    """Go on with the journal of an output, or begin one; the end of the block removes it.

    Args:
        output: of the evaluation.
        decides: all that the rollouts depend on.

    Raises:
        UsageError: another process writes it, it is damaged, or its rollouts depended on
            something else.
    """
    file = journal_of(output)
    with _only_writer(file) as stream:
        yield Journal(stream, _read(stream, file, dict(decides)))
        file.unlink()


def _only_writer(file: Path) -> BinaryIO:
    """The file, locked; the lock goes with the process, however it ends."""
    try:
        return os.fdopen(open_locked(file, ANEW | os.O_APPEND), "a+b")
    except BlockingIOError:
        raise UsageError(
            f"{file} is being written by another `ate evaluate`: wait for it, or give another "
            "--output"
        ) from None


def _read(
    stream: BinaryIO, file: Path, decides: dict[str, Any]
) -> dict[tuple[str, str, int], Trial]:
    stream.seek(0)
    text = stream.read()
    whole = text[: text.rfind(b"\n") + 1]
    stream.truncate(len(whole))
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        trials = [(line["policy"], Trial(**line["trial"])) for line in lines[1:]]
    except (*UNREADABLE, TypeError) as error:
        raise UsageError(f"{file} is damaged ({error!r}): remove it to begin again") from None
    if not lines:
        _write(stream, decides)
    elif why := _difference(lines[0], json.loads(json.dumps(decides))):
        raise UsageError(
            f"{file} holds rollouts of an evaluation that was cut off; {why}: give what it was "
            "begun with to go on with it, another --output, or remove the file"
        )
    return {(one.perturbation, policy, one.seed): one for policy, one in trials}


def _difference(before: Any, now: Mapping[str, Any]) -> str:
    """The first thing in which two evaluations differ, in words; empty: none."""
    if not isinstance(before, Mapping):
        return "it does not say of which"
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            return f"its {name} was {before.get(name)}, not {now.get(name)}"
    return ""


def _write(stream: BinaryIO, line: Mapping[str, Any]) -> None:
    stream.write(json.dumps(line).encode() + b"\n")
    stream.flush()
    os.fsync(stream.fileno())
