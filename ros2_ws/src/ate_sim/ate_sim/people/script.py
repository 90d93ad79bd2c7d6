"""What people do, as generators: each runs until it has to wait for the next tick of the clock.

A script receives the monotonic time [s] from every `yield`, so it needs no thread of its own and
no clock, and a test can play it against a simulated one.
"""

from collections.abc import Callable, Generator
from typing import TypeVar

from ate_core.errors import AteError

T = TypeVar("T")
Script = Generator[None, float, T]


class EpisodeFailed(AteError):
    """Something the script waited for did not come in time."""


def wait_for(what: str, condition: Callable[[], bool], timeout: float) -> Script[float]:
    """Wait until `condition` holds; returns how long it took [s].

    Raises:
        EpisodeFailed: It did not hold within `timeout` [s].
    """
    started = now = yield
    while not condition():
        if now - started > timeout:
            raise EpisodeFailed(f"{what}: not within {timeout:g} s")
        now = yield
    return now - started


def pause(duration: float) -> Script[None]:
    """Wait for `duration` [s]."""
    started = now = yield
    while now - started < duration:
        now = yield
