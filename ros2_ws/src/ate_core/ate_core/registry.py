"""Things that exist by name: the built-in ones, and those that installed packages add.

A built-in thing is one file and one line of its registry. A package outside this project adds one
by an entry point of the registry's group, for instance in its ``pyproject.toml``::

    [project.entry-points."ate.policies"]
    my_policy = "my_package.my_policy:ENTRY"
"""

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from ate_core.errors import AteError, UsageError


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Names of one kind of thing, and where each is found; nothing is imported before `load`."""

    what: str
    """The kind in words, for instance ``policy``."""
    group: str
    """Group of the entry points that add to it."""
    builtin: Mapping[str, str]
    """Name -> ``module:attribute``."""
    error: type[AteError] = UsageError
    """What an unknown name raises."""

    def names(self) -> tuple[str, ...]:
        """All names, built-in ones first."""
        added = {entry.name for entry in entry_points(group=self.group)}
        return (*self.builtin, *sorted(added - set(self.builtin)))

    def require(self, name: str) -> str:
        """Return the ``module:attribute`` of a name.

        Raises:
            AteError: there is no such name; the message lists the known ones.
        """
        if name in self.builtin:  # these cannot be replaced from outside
            return self.builtin[name]
        for entry in entry_points(group=self.group):
            if entry.name == name:
                return entry.value
        names = self.names()
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise self.error(f"there is no {self.what} {name!r}: known are {', '.join(names)}{hint}")

    def load(self, name: str) -> Any:
        """Import what a name stands for.

        Raises:
            AteError: there is no such name, or its module lacks what the entry point promises.
        """
        target = self.require(name)
        module, _, attribute = target.partition(":")
        loaded = importlib.import_module(module)
        if not attribute:
            return loaded
        try:
            return getattr(loaded, attribute)
        except AttributeError:
            raise self.error(
                f"{self.what} {name!r} should be {target}, which does not exist: mend the entry "
                f"point of group {self.group}"
            ) from None
