"""Who in a cell is alive and well, judged from outside by the lines of ``/diagnostics``. No ROS.

Every node sends its lines about once a second, from the executor that also serves its callbacks: a
node that hangs, or whose process is gone, falls silent and is named.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from ate_core.errors import UsageError
from ate_core.json_text import plain_text

T = TypeVar("T")

OK, WARN, ERROR, STALE = range(4)
"""Levels of diagnostic_msgs/DiagnosticStatus."""
STALE_AFTER = 1.8
"""Silence after which a node is named; it sends once a second [s]."""
HUNG_AFTER = 4.0
"""Silence after which a process is certain to hang, so that it may be killed [s]."""
BLIND_AFTER = 0.7
"""Pause between two looks after which our own sleep explains the silence of others [s]."""
SEPARATORS = (" ", ":")
"""What ends the name of a node's line, in those of its further lines."""
MOST_STRANGERS = 64
"""Senders outside the launch that are remembered; the one silent for longest is forgotten."""
MOST_LINES = 64
"""Lines of one sender that are remembered; the oldest is forgotten."""


@dataclass(frozen=True, kw_only=True)
class WatchedNode:
    """A node of the launch that sends diagnostics."""

    name: str
    """Fully qualified name."""
    heartbeat: str
    """Name of its line; those of further ones have a space or a colon behind it."""
    managed: bool = False
    """Whether it is a driver that is configured and activated."""
    optional: bool = False
    """Whether the cell is ready without it."""
    restarts: bool = False
    """Whether the launch starts it again, so that a hanging process may be killed."""
    patience: float = HUNG_AFTER
    """Silence after which it is certain to hang [s]; longer where its work may block it."""
    loss: str = ""
    """What the cell lacks without it."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """What is known of one node at one moment."""

    level: int
    """Worst of its lines, or `STALE`."""
    text: str
    """Its worst line, or why it is stale; empty when all is well."""
    age: float
    """Time since it was last heard [s]; infinite when it never was."""

    def is_hung(self, node: WatchedNode, starved: float = 0.0) -> bool:
        """Whether the node was heard once and is silent for longer than its work explains.

        Args:
            node: what is known of its work.
            starved: how long of its silence it has waited for a processor [s].
        """
        return node.patience + starved < self.age < float("inf")

    def is_starved(self, node: WatchedNode, starved: float) -> bool:
        """Whether it would count as hung if it had not waited for a processor."""
        return self.is_hung(node) and not self.is_hung(node, starved)

    def is_waited_for(self, node: WatchedNode) -> bool:
        """Whether others would count as hung by now, but this one may still be at work."""
        return HUNG_AFTER < self.age <= node.patience


def parse_nodes(text: str) -> tuple[WatchedNode, ...]:
    """The nodes that a launch names (JSON, a list of `WatchedNode` as objects).

    Raises:
        UsageError: the text is not such a list.
    """
    try:
        return tuple(WatchedNode(**entry) for entry in json.loads(text))
    except (ValueError, TypeError) as error:
        raise UsageError(f"parameter nodes is not a list of nodes: {error}") from None


class DiagnosticsWatch:
    """Newest lines of every node; time is an argument: monotonic seconds."""

    def __init__(self, nodes: Sequence[WatchedNode]) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._lines: dict[str, dict[str, tuple[int, str]]] = {name: {} for name in self._nodes}
        self._heard: dict[str, float] = {}
        self._looked: float | None = None

    def take(self, line: str, level: int, message: str, now: float) -> None:
        """Keep one line of diagnostics; an unknown sender becomes a node of its own."""
        line = plain_text(line)
        name = self._sender(line)
        lines = self._lines.setdefault(name, {})
        _put_last(lines, line, (level, plain_text(message)))
        _put_last(self._heard, name, now)
        if len(lines) > MOST_LINES:
            del lines[next(iter(lines))]
        strangers = [other for other in self._heard if other not in self._nodes]
        if len(strangers) > MOST_STRANGERS:
            del self._heard[strangers[0]], self._lines[strangers[0]]

    def look(self, now: float) -> dict[str, Health]:
        """Health of every node.

        After a pause of our own nobody is blamed: all ages begin anew.
        """
        if self._looked is not None and now - self._looked > BLIND_AFTER:
            self._heard = dict.fromkeys(self._heard, now)
        self._looked = now
        return {name: self._health(name, now) for name in self._lines}

    def _health(self, name: str, now: float) -> Health:
        if name not in self._heard:
            return Health(level=STALE, text="not heard yet", age=float("inf"))
        age = now - self._heard[name]
        if age > STALE_AFTER:
            return Health(level=STALE, text=f"silent for {age:.1f} s", age=age)
        level, text = max(self._lines[name].values())
        return Health(level=level, text=text if level else "", age=age)

    def _sender(self, line: str) -> str:
        """Node of a line, by its longest heartbeat; the line itself where it is nobody's."""
        own = [node for node in self._nodes.values() if _is_of(line, node.heartbeat)]
        return max(own, key=lambda node: len(node.heartbeat)).name if own else line


def _is_of(line: str, heartbeat: str) -> bool:
    """Whether a line is of that name: `overhead_2` is not of `overhead`."""
    return line.startswith(heartbeat) and line[len(heartbeat) :][:1] in ("", *SEPARATORS)


def _put_last(entries: dict[str, T], key: str, value: T) -> None:
    """Set an entry and make it the newest, so that the first of all is the oldest."""
    entries.pop(key, None)
    entries[key] = value
