"""What a JSON file of another project tells: each entry is of its kind, or is refused by name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ate_core.errors import CheckpointError
from ate_core.json_text import read_object

SHOWN = 60
"""Letters of a wrong value that are shown."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """An object in a file. What is missing, or null, is None."""

    file: Path
    """That it stands in."""
    entries: Mapping[str, Any]
    """By name, as they stand there."""
    place: str = ""
    """Where in the file, with a dot behind; empty: it is the whole."""
    remedy: str
    """What to do about a wrong entry."""

    def part(self, name: str) -> "Told | None":
        """An object in it."""
        value = self._get(name, dict, "an object")
        if value is None:
            return None
        return Told(
            file=self.file,
            entries=value,
            place=f"{self.place}{name}.",
            remedy=self.remedy,
        )

    def parts(self) -> "dict[str, Told]":
        """All entries, which must be objects, in their order."""
        found = {name: self.part(name) for name in self.entries}
        return {name: one for name, one in found.items() if one is not None}

    def text(self, name: str) -> str | None:
        """A text."""
        value: str | None = self._get(name, str, "a text")
        return value

    def flag(self, name: str) -> bool | None:
        """True or false."""
        value: bool | None = self._get(name, bool, "true or false")
        return value

    def count(self, name: str) -> int | None:
        """A whole number above 0."""
        value = self.entries.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.wrong(name, value, "a whole number above 0")
        return value

    def number(self, name: str) -> float | None:
        """A finite number."""
        value = self.entries.get(name)
        return None if value is None else self._finite(name, value)

    def counts(self, name: str, length: int | None = None) -> tuple[int, ...] | None:
        """A list of whole numbers above 0.

        Args:
            name: Of the entry.
            length: That it must have; None: any.
        """
        value = self.entries.get(name)
        if value is None:
            return None
        whole = isinstance(value, list) and all(
            isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in value
        )
        if not whole or length not in (None, len(value)):
            many = "" if length is None else f"{length} "
            raise self.wrong(name, value, f"a list of {many}whole numbers above 0")
        return tuple(value)

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """A list of finite numbers."""
        value = self._get(name, list, "a list of numbers")
        if value is None:
            return None
        return tuple(self._finite(f"{name}[{index}]", one) for index, one in enumerate(value))

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of texts."""
        value = self._get(name, list, "a list of texts")
        if value is None:
            return None
        if not all(isinstance(one, str) for one in value):
            raise self.wrong(name, value, "a list of texts")
        return tuple(value)

    def wrong(self, name: str, value: object, bound: str) -> CheckpointError:
        """The error of an entry.

        Args:
            name: Of the entry.
            value: That it has.
            bound: What it must be.
        """
        shown = repr(value)
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
        return CheckpointError(
            f"{self.file}: {self.place}{name} is {shown}, must be {bound}: {self.remedy}"
        )

    def _get(self, name: str, kind: type, bound: str) -> Any:
        value = self.entries.get(name)
        if value is not None and not isinstance(value, kind):
            raise self.wrong(name, value, bound)
        return value

    def _finite(self, name: str, value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                if math.isfinite(value):
                    return float(value)
            except OverflowError:  # a whole number without end
                pass
        raise self.wrong(name, value, "a finite number")


def read_told(file: Path, remedy: str) -> Told:
    """What a file tells.

    Args:
        file: With a JSON object.
        remedy: What to do about a wrong one.
    """
    return Told(file=file, entries=read_object(file, CheckpointError, remedy), remedy=remedy)
