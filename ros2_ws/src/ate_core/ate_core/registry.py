"""Things that exist by name: the built-in ones, and those that installed packages add.

A built-in thing is one file and one line of its registry. A package outside this project adds one
by an entry point of the registry's group, for instance in its ``pyproject.toml``::

    [project.entry-points."ate.policies"]
    my_policy = "my_package.my_policy:ENTRY"
"""

import difflib
import functools
import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, TypeVar

from ate_core.errors import AteError, UsageError

logger = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")


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
            AteError: there is no such name, its module lacks what the entry point promises, or
                the module of another package cannot be imported.
        """
        target = self.require(name)
        module, _, attribute = target.partition(":")
        try:
            loaded = importlib.import_module(module)
        except Exception as error:
            if name in self.builtin:
                raise
            raise self.error(
                f"{self.what} {name!r} of {self._package(name)} cannot be imported: entry point "
                f"{target} of group {self.group} ends in {error!r}; mend or uninstall that package"
            ) from error
        if not attribute:
            return loaded
        try:
            return getattr(loaded, attribute)
        except AttributeError:
            raise self.error(
                f"{self.what} {name!r} should be {target}, which does not exist: mend the entry "
                f"point of group {self.group}"
            ) from None

    def load_working(self, load: Callable[[str], Loaded]) -> dict[str, Loaded]:
        """All that can be loaded, by name; what another package broke is warned of once.

        Args:
            load: Loads one by its name, and may check it.
        """
        found = {}
        for name in self.names():
            try:
                found[name] = load(name)
            except self.error as error:
                if name in self.builtin:
                    raise
                _warn_once(f"{error}; going on without it")
        return found

    def name_of(self, kind: type, kinds: Mapping[str, type]) -> str | None:
        """The one name that stands for a class, or None.

        Args:
            kind: The class.
            kinds: Class by name.

        Raises:
            AteError: two names stand for it, so that nobody knows which is meant.
        """
        names = [name for name, other in kinds.items() if other is kind]
        if len(names) > 1:
            raise self.error(
                f"{self.what} {' and '.join(map(repr, names))} have one class of options, "
                f"{kind.__module__}.{kind.__name__}: give each a class of its own, or uninstall "
                "the package of one"
            )
        return names[0] if names else None

    def _package(self, name: str) -> str:
        for entry in entry_points(group=self.group):
            if entry.name == name and entry.dist is not None:
                return entry.dist.name
        return "an unknown package"


@functools.cache
def _warn_once(text: str) -> None:
    logger.warning("%s", text)
