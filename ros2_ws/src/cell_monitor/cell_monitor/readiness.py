"""When a cell counts as ready, and what it lacks afterwards. No ROS."""

from collections.abc import Mapping, Sequence

from cell_monitor.watch import ERROR, OK, STALE, WARN, Health, WatchedNode

OPTIONAL_PATIENCE = 15.0
"""How long cameras and the like are waited for once everything else is ready [s]."""
WAITING_AFTER = 5.0
"""Time after which people are told what is being waited for [s]."""
PLAIN_AFTER = 3.0
"""Time after which a driver that is heard but offers no lifecycle is taken as it is [s]."""

UNCONFIGURED, INACTIVE, ACTIVE = "unconfigured", "inactive", "active"
"""Lifecycle states of drivers."""
STOPPED = "stopped"
"""How the line of an arm, or of the emergency stop, begins while a stop is on."""


class Readiness:
    """Decides which driver goes on when; says one sentence when all is ready. Time in seconds."""

    def __init__(self, nodes: Sequence[WatchedNode], following: str, begin: float) -> None:
        """Begin.

        Args:
            nodes: what the launch consists of.
            following: what a person does next, for the sentence.
            begin: present time [s].
        """
        self._nodes = nodes
        self._following = following
        self._begin = begin
        self._heard_since: dict[str, float] = {}
        self._complete_since: float | None = None
        self._were_active: set[str] = set()
        self._troubles: dict[str, str] = {}
        self._lacks: dict[str, str] = {}
        self._warnings: dict[str, str] = {}
        self._waiting = ""
        self.ready = False
        """Whether the sentence has been said."""

    def transition(self, name: str, states: Mapping[str, str]) -> str:
        """What a driver is asked to do next: configure, activate, or nothing.

        Arms and grippers become active together, once each is checked; later ones on their own.
        A driver that went from active to inactive was deactivated by a person, and stays so until
        it is unconfigured, as every new process is.
        """
        self._remember(states)
        state = states.get(name, "")
        if state == UNCONFIGURED:
            return "configure"
        node = next(node for node in self._nodes if node.name == name)
        together = [one.name for one in self._nodes if one.managed and not one.optional]
        checked = all(states.get(one) in (INACTIVE, ACTIVE) for one in together)
        if name in self._were_active:
            return ""
        if state == INACTIVE and (self.ready or node.optional or checked):
            return "activate"
        return ""

    def _remember(self, states: Mapping[str, str]) -> None:
        """Keep who has been active since it was last unconfigured; silence tells nothing."""
        for name, state in states.items():
            if state == ACTIVE:
                self._were_active.add(name)
            elif state == UNCONFIGURED:
                self._were_active.discard(name)

    def look(
        self, now: float, health: Mapping[str, Health], states: Mapping[str, str]
    ) -> list[tuple[bool, str]]:
        """What to tell now: pairs of whether it is bad, and the sentence."""
        self._remember(states)
        lacking = self._lacking(now, health, states)
        self._lacks = {name: text for name, text in lacking.items() if text}
        self._warnings = {
            name: health[name].text
            for name, lack in lacking.items()
            if not lack and health[name].level == WARN
        }
        if self.ready:
            return self._changes(health, lacking)
        required = {n.name: lacking[n.name] for n in self._nodes if not n.optional}
        missing = {name: text for name, text in required.items() if text}
        if missing:
            self._complete_since = None
            return self._tell_waiting(now, missing)
        stops = [f"{name}: {stop}" for name in required if (stop := _stop_of(health[name]))]
        if stops:
            return self._tell_stops("; ".join(stops))
        self._complete_since = now if self._complete_since is None else self._complete_since
        late = self._lacks
        if late and now - self._complete_since < OPTIONAL_PATIENCE:
            return []
        self.ready = True
        self._troubles = late
        without = "".join(f"; WITHOUT {self._trouble(name, late[name])}" for name in late)
        return [(False, f"READY: {self._following}{without}")]

    def verdict(self) -> tuple[int, str]:
        """Level of the cell as a whole at the last look, and in words what it lacks.

        `ERROR` without a node that it needs; `WARN` without one that it can do without, and while
        any node of the launch warns, as an arm that is stopped or a camera that is slow.
        """
        needed = {node.name for node in self._nodes if not node.optional}
        troubles = {name: self._trouble(name, text) for name, text in self._lacks.items()}
        troubles |= {name: f"{name} ({text})" for name, text in self._warnings.items()}
        if not troubles:
            return OK, "ready"
        first, *more = sorted(
            troubles, key=lambda name: (name not in needed, name in self._warnings)
        )
        level = ERROR if first in needed and first in self._lacks else WARN
        return level, troubles[first] + (f"; and {len(more)} more" if more else "")

    def _lacking(
        self, now: float, health: Mapping[str, Health], states: Mapping[str, str]
    ) -> dict[str, str]:
        """Why each node is not at work; empty for those that are."""
        reasons = {}
        for node in self._nodes:
            one = health[node.name]
            if one.level == STALE and one.age > 0:
                self._heard_since.pop(node.name, None)
            else:
                self._heard_since.setdefault(node.name, now)
            reasons[node.name] = self._reason(node, one, states.get(node.name, ""), now)
        return reasons

    def _reason(self, node: WatchedNode, one: Health, state: str, now: float) -> str:
        if one.level >= ERROR:
            return one.text
        if not node.managed or state == ACTIVE:
            return ""
        if state == INACTIVE and node.name in self._were_active:
            lifecycle = f"ros2 lifecycle set {node.name} activate"
            return f"{state}, deactivated by somebody; `{lifecycle}` brings it back"
        since = self._heard_since.get(node.name, now)
        if not state and now - since > PLAIN_AFTER:
            return ""
        return f"{state or 'no lifecycle yet'} {one.text}".strip()

    def _tell_waiting(self, now: float, missing: Mapping[str, str]) -> list[tuple[bool, str]]:
        text = "; ".join(f"{name} ({reason})" for name, reason in missing.items())
        names = ", ".join(missing)
        if now - self._begin < WAITING_AFTER or names == self._waiting:
            return []
        self._waiting = names
        return [(False, f"waiting for {text}")]

    def _tell_stops(self, stops: str) -> list[tuple[bool, str]]:
        if stops == self._waiting:
            return []
        self._waiting = stops
        return [(True, f"STOPPED, nothing may start before: {stops}")]

    def _changes(
        self, health: Mapping[str, Health], lacking: Mapping[str, str]
    ) -> list[tuple[bool, str]]:
        sentences = []
        for name, reason in lacking.items():
            known = self._troubles.get(name, "")
            if reason and not known:
                sentences.append((True, f"DEGRADED: {self._trouble(name, reason)}"))
            elif known and not reason:
                sentences.append((False, f"recovered: {name}"))
        self._troubles = self._lacks
        return sentences

    def _trouble(self, name: str, reason: str) -> str:
        loss = next((node.loss for node in self._nodes if node.name == name), "")
        return f"{name} ({reason})" + (f": {loss}" if loss else "")


def _stop_of(one: Health) -> str:
    """Which stop is on and what a person does about it; empty while none is."""
    if one.level != WARN or not one.text.startswith(STOPPED):
        return ""
    remedy = "remove the cause, then `ate stop --reset`; an arm stopped alone: its arm/enable"
    return f"{one.text} ({remedy})"
