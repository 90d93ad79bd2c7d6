"""What runs a function over many items; whatever one of them does, the others go on.

The engines take the same function. It must be importable (not a lambda), and its items and
results must pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

EngineName = Literal["local", "ray"]
"""Local processes, or an existing Ray cluster."""


@dataclass(frozen=True, kw_only=True)
class Done(Generic[Item, Result]):
    """One item and what came of it."""

    item: Item
    """The item."""
    result: Result | None = None
    """What the function returned; None where it failed."""
    failure: str = ""
    """Why there is no result."""


class Engine(Protocol):
    """Runs a function over items and yields each when it is done, in any order."""

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[Done[Item, Result]]:
        """Yield one `Done` per item; an exception of the function is a failure of its item."""
        ...


def describe(error: BaseException) -> str:
    """Say what an unforeseen exception was, in one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
