"""`ate score`: blinded rollouts on the real cell, scored by one key each."""

import contextlib
import json
import secrets
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ate_core.blind_scoring import PLAN, UNDO, Session, alone, keep, resume
from ate_core.errors import UsageError
from ate_core.files import replace_text
from ate_policy.checkpoint import resolve_checkpoint
from training.configs.output_folder import make_folder
from training.evaluation.blinding import MOST_POLICIES, begin, unblind
from training.reporting.terminal import terminal

RESULT = "evaluation.json"
"""Outcomes by policy, made after the last rollout."""
MOST_STARTS = 10_000
"""More than anybody scores by hand; their order is drawn at once."""
KEYS = "s success, f failure, 1-9 tenths of the task, a aborted (again later), u undo, q pause"


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """Roll policies out on the real cell without knowing which is which, and score them.

    The order is drawn anew for every start. A session that was paused or cut off goes on where it
    stopped: give its folder alone.
    """

    session: Path
    """Folder of the session."""
    policies: tuple[Path, ...] = ()
    """Checkpoint or run folders, of a new session."""
    starts: int = 10
    """Start positions, each rolled out with every policy."""
    task: str = ""
    """What is rolled out, of a new session."""

    def __post_init__(self) -> None:
        """Refuse arguments that cannot work."""
        if not 1 <= self.starts <= MOST_STARTS:
            raise UsageError(f"starts is {self.starts}; need 1 to {MOST_STARTS}")
        if len(self.policies) == 1 or len(self.policies) > MOST_POLICIES:
            raise UsageError(
                f"{len(self.policies)} policies are given: nothing is blind with one; give 2 to "
                f"{MOST_POLICIES}, a control for instance"
            )


def score(config: ScoreConfig) -> int:
    """Begin or resume, score until all are scored or `q`, then open the key."""
    make_folder(config.session)
    with alone(config.session), _keys() as next_key:
        session = _session(config)
        session = score_all(session, next_key, print)
    left = len(session.queue)
    if left:
        print(f"paused, {left} rollouts are left: ate score --session {config.session}")
        return 0
    result = config.session / RESULT
    replace_text(result, json.dumps(unblind(session), indent=1) + "\n")
    terminal().print(f"all scored: ate report --evaluations {result}")
    return 0


def _session(config: ScoreConfig) -> Session:
    if (config.session / PLAN).exists():
        if config.policies:
            raise UsageError(
                f"{config.session} holds a session: leave --policies out to go on with it, or "
                "name another folder"
            )
        return resume(config.session)
    if not config.policies:
        raise UsageError(f"{config.session} holds no session: give --policies to begin one")
    folders = [resolve_checkpoint(path) for path in config.policies]
    names = [path.resolve().name for path in config.policies]
    if len(set(names)) != len(names):
        raise UsageError("two policies have the same name: rename one of the folders")
    rng = np.random.default_rng(secrets.randbits(128))
    policies = dict(zip(names, folders, strict=True))
    return begin(config.session, policies, config.starts, config.task, rng)


def score_all(
    session: Session, next_key: Callable[[], str], tell: Callable[[str], None]
) -> Session:
    """Ask for one key after another; every score is on disk before the next is asked for.

    Args:
        session: where to go on.
        next_key: blocks until a key; empty or ``q`` pauses.
        tell: prints a line.
    """
    tell(KEYS)
    while queue := session.queue:
        turn = queue[0]
        checkpoint = session.folder / turn.letter
        tell(
            f"{len(queue)} left: start {turn.start}, policy {turn.letter} "
            f"(checkpoint:={checkpoint})"
        )
        key = next_key()
        if key in ("", "q", "\x03", "\x04"):
            break
        try:
            session = keep(session, session.pressed(key))
        except UsageError as error:
            tell(f"{error}: {KEYS}")
            continue
        if key != UNDO:
            tell(f"  {session.scores[-1].words()}")
    return session


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """Single keys of a terminal; else the characters of the input, line ends passed over."""
    stream = sys.stdin

    def read() -> str:
        while (key := stream.read(1)) in ("\n", "\r", " "):
            pass
        return key.lower()

    if not stream.isatty():
        yield read
        return
    before = termios.tcgetattr(stream)
    try:
        tty.setcbreak(stream)
        yield read
    finally:
        termios.tcsetattr(stream, termios.TCSADRAIN, before)
