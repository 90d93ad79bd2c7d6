"""What was heard of a running cell, what needs attention, and how both read on a screen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ate_core.part_states import part_level, part_state
from ate_core.policy_states import TAKEN_OVER
from ate_core.stage_times import TOTAL

SLOW = 0.5
"""Share of its rate below which a camera counts as slow; a visitor misses some of its words."""
UNKNOWN_STOP = "unknown: its node does not run"
"""What is said of an emergency stop that tells no state."""


@dataclass(kw_only=True)
class CellState:
    """What was heard of a cell; a mapping is empty where nothing was."""

    estop: Mapping[str, Any] = field(default_factory=dict)
    """The e-stop node's JSON."""
    arms: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Side -> the arm's status."""
    grippers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Side -> the gripper's status."""
    operators: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Side -> the operator's status."""
    episode: Mapping[str, Any] = field(default_factory=dict)
    """The recorder's status."""
    policy: Mapping[str, Any] = field(default_factory=dict)
    """The policy's status."""
    rates: dict[str, float] = field(default_factory=dict)
    """Name of a stream -> its rate [Hz]; 0 where it is silent."""
    wanted: dict[str, float] = field(default_factory=dict)
    """Name of a camera's stream -> the rate that the cell asks of it [Hz]."""
    devices: tuple[str, ...] = ()
    """Arms and grippers of the cell, as "left arm"."""
    nodes: dict[str, str] = field(default_factory=dict)
    """Node of the launch that is not well -> what the monitor says of it."""

    @property
    def is_there(self) -> bool:
        """Whether any part of a cell was heard."""
        heard = (self.estop, self.arms, self.grippers, self.operators, self.episode, self.policy)
        return any(heard) or any(self.rates.values())

    @property
    def unheard(self) -> list[str]:
        """Arms and grippers that told no status, and streams of which nothing came."""
        parts = (("arm", self.arms), ("gripper", self.grippers))
        told = {f"{side} {kind}" for kind, sides in parts for side in sides}
        streams = (name.replace("_", " ") for name, rate in self.rates.items() if not rate)
        return list(dict.fromkeys([one for one in self.devices if one not in told] + [*streams]))

    def attention(self) -> list[str]:
        """What needs somebody's attention, one sentence each."""
        told = []
        stopped = self.estop.get("stopped")
        if not isinstance(stopped, bool):
            told.append(f"emergency stop {UNKNOWN_STOP}, and nobody can reset a stop; start it")
        if stopped is True:
            told.append(f"emergency stop: {self.estop.get('reason')}; `ate stop --reset` ends it")
        else:
            told += _part_troubles("arm", self.arms) + _part_troubles("gripper", self.grippers)
        told += [f"{name}: nothing is heard of it; does its driver run?" for name in self.unheard]
        told += [
            f"{name}: {rate:g} Hz instead of {self.wanted[name]:g} Hz: check cable and load"
            for name, rate in self.rates.items()
            if 0.0 < rate < SLOW * self.wanted.get(name, 0.0)
        ]
        for side, operator in self.operators.items():
            told += [f"{side} operator: {trouble}" for trouble in _device_troubles(operator)]
        if self.episode.get("trouble"):
            told.append(f"recorder: {self.episode['trouble']}")
        if self.episode.get("state") == "pending":
            told.append(f"{self.episode.get('message')}; `ate episode keep|label|discard`")
        if self.policy.get("reason") and self.policy.get("state") != TAKEN_OVER:
            told.append(f"policy {self.policy.get('state')}: {self.policy['reason']}")
        return told + [f"{name}: {text}" for name, text in self.nodes.items()]


def _part_troubles(kind: str, parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """State and reason of the arms or grippers that do not follow, and would not."""
    states = {side: part_state(status) for side, status in parts.items()}
    return [
        f"{side} {kind} {state}: {parts[side].get('reason') or 'no reason given'}"
        for side, state in states.items()
        if part_level(state) != "ok"
    ]


def _device_troubles(operator: Mapping[str, Any]) -> Iterator[str]:
    """What an operator's headset and Joy-Con need."""
    if operator.get("headset_trouble"):
        yield operator["headset_trouble"]
    if operator.get("joycon") is False:
        yield (operator.get("devices") or ["", "the Joy-Con is silent"])[-1]
    if operator.get("battery_low"):
        yield "charge the Joy-Con: its battery is low"


def screen(state: CellState) -> str:
    """The state for people."""
    lines = [f"emergency stop  {_estop(state.estop)}"]
    for kind, parts in (("arm", state.arms), ("gripper", state.grippers)):
        for side, part in parts.items():
            rate = state.rates.get(f"{side}_{kind}")
            words = _words(part.get("state"), part.get("commander"), part.get("reason"))
            lines.append(f"{side + ' ' + kind:15} {words}{_hertz(rate)}")
    for side, operator in state.operators.items():
        words = _words(
            f"clutch {operator.get('clutch')}", operator.get("reason"), _latency(operator)
        )
        lines.append(f"{side + ' operator':15} {words}")
    for name, rate in state.rates.items():
        if name.startswith("camera "):
            lines.append(f"{name:15} {'silent' if not rate else 'alive'}{_hertz(rate)}")
    lines.append(f"{'recording':15} {_recording(state.episode)}")
    if state.policy:
        words = _words(state.policy.get("state"), state.policy.get("reason"))
        lines.append(f"{'policy':15} {words}")
    attention = state.attention()
    lines += [f"! {sentence}" for sentence in attention] or ["all is well"]
    return "\n".join(lines)


def _estop(estop: Mapping[str, Any]) -> str:
    if not isinstance(estop.get("stopped"), bool):
        return UNKNOWN_STOP
    return f"STOPPED: {estop.get('reason')}" if estop.get("stopped") else "free"


def _latency(operator: Mapping[str, Any]) -> str:
    """How long poses take to become commands; empty while none does."""
    stages = operator.get("latency_ms")
    pair = stages.get(TOTAL) if isinstance(stages, Mapping) else None
    if not isinstance(pair, Sequence) or len(pair) != 2:
        return ""
    return f"pose to command {pair[0]} ms, p99 {pair[1]} ms"


def _recording(episode: Mapping[str, Any]) -> str:
    if not episode:
        return "no recorder runs"
    counts = f"{episode.get('kept')} kept, {episode.get('discarded')} discarded"
    words = _words(episode.get("state"), episode.get("message"), counts)
    return f"{words}\n{'':15} in {episode.get('output')}"


def _words(*parts: object) -> str:
    return "  ".join(str(part) for part in parts if part)


def _hertz(rate: float | None) -> str:
    return "" if rate is None else f"  {rate:.0f} Hz"
