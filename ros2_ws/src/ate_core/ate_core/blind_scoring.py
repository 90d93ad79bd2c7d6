"""Rollouts that a person scores by one key each, without knowing whose they are.

A session is a folder that `ate score` begins: `plan.json` holds the order in code letters,
`scores.jsonl` a line for each key that was pressed. Terminal and cockpit score it by this module;
whose letter is whose, neither can tell.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ate_core.errors import UsageError
from ate_core.files import replace_text
from ate_core.json_text import UNREADABLE
from ate_core.locks import open_locked

PLAN, SCORES = "plan.json", "scores.jsonl"
SUCCESS, FAILURE, ABORTED, UNDO = "s", "f", "a", "u"
"""Keys; 1 to 9 are tenths of the task."""
TENTHS = tuple("123456789")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One rollout to be made."""

    start: int
    """Which start position, from 1 on; marked on the table or photographed."""
    letter: str
    """Code of the policy."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a person said of a rollout."""

    start: int
    """As planned."""
    letter: str
    """As planned."""
    score: float
    """0 to 1, in tenths; 1 is success."""
    aborted: bool = False
    """Whether something but the policy ended it: it is rolled out again, after all others."""

    def words(self) -> str:
        """For people."""
        told = "aborted" if self.aborted else f"{self.score:g}"
        return f"start {self.start}, policy {self.letter}: {told}"


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session and how far it is."""

    folder: Path
    """Where it lies."""
    turns: tuple[Turn, ...]
    """In the order to be rolled out."""
    task: str
    """What is rolled out."""
    scores: tuple[Score, ...] = ()
    """So far, in order."""

    @property
    def queue(self) -> list[Turn]:
        """What is left, the next first; what was aborted comes again after all others."""
        left = list(self.turns)
        for score in self.scores:
            turn = left.pop(0)
            if score.aborted:
                left.append(turn)
        return left

    def pressed(self, key: str) -> tuple[Score, ...]:
        """All scores after a key for the next rollout, or after the last one was taken back.

        Raises:
            UsageError: it is none of the keys, or there is nothing to score or to take back.
        """
        if key == UNDO:
            if not self.scores:
                raise UsageError("nothing is scored yet that could be taken back")
            return self.scores[:-1]
        value = {SUCCESS: 1.0, FAILURE: 0.0, ABORTED: 0.0}.get(key)
        if key in TENTHS:
            value = int(key) / 10
        if value is None:
            raise UsageError(f"{key!r} is no score")
        if not (queue := self.queue):
            raise UsageError("all rollouts are scored")
        turn = queue[0]
        told = Score(start=turn.start, letter=turn.letter, score=value, aborted=key == ABORTED)
        return (*self.scores, told)


def resume(folder: Path) -> Session:
    """Read a session again; a line that was cut off by a power cut is scored anew.

    Raises:
        UsageError: its files are damaged or do not fit each other.
    """
    try:
        plan = json.loads((folder / PLAN).read_text())
        turns = tuple(Turn(**turn) for turn in plan["turns"])
        session = Session(folder=folder, turns=turns, task=str(plan["task"]))
    except (OSError, *UNREADABLE) as error:
        raise UsageError(f"{folder} is no whole session ({error!r}): begin a new one") from None
    file = folder / SCORES
    text = file.read_text(errors="replace") if file.is_file() else ""
    whole = text[: text.rfind("\n") + 1]
    scores = _read_scores(whole.splitlines(), file)
    for count, score in enumerate(scores):
        queue = replace(session, scores=scores[:count]).queue
        if not queue or (queue[0].start, queue[0].letter) != (score.start, score.letter):
            raise UsageError(f"{file}: line {count + 1} is not of this plan: restore the file")
    return replace(session, scores=scores)


def _read_scores(lines: Iterable[str], file: Path) -> tuple[Score, ...]:
    try:
        return tuple(Score(**json.loads(line)) for line in lines)
    except UNREADABLE as error:
        raise UsageError(f"{file} is damaged ({error!r}): restore the file") from None


def keep(session: Session, scores: Sequence[Score]) -> Session:
    """Write all scores; after a power cut they are the old or the new."""
    text = "".join(json.dumps(asdict(score)) + "\n" for score in scores)
    replace_text(session.folder / SCORES, text)
    return replace(session, scores=tuple(scores))


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second scorer out; the lock goes with the process, however it ends.

    Raises:
        UsageError: another process scores.
    """
    try:
        descriptor = open_locked(folder / ".lock")
    except BlockingIOError:
        raise UsageError(
            f"{folder} is being scored by another process: end that one first"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)
