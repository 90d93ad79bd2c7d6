"""What an episode was like, noted while it is recorded: for the moment in which it is judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RECORDING = "recording"
"""State of the recorder with an open episode."""


@dataclass
class _Hand:
    """One operator during an episode."""

    losses: int = 0
    """How often the clutch opened though it was asked for."""
    edge: float = 0.0
    """Time with the hand where the arm cannot be [s]."""
    edge_since: float | None = None
    """Since when it is there [s]."""
    was_engaged: bool = False


class EpisodeCard:
    """Counts what a person should know of the episode just recorded."""

    def __init__(self, sides: Sequence[str]) -> None:
        self._sides = tuple(sides)
        self._hands = {side: _Hand() for side in sides}
        self._episode: dict[str, object] = {}
        self._is_open = False

    def see_episode(self, status: Mapping[str, object]) -> None:
        """Take the recorder's status; a new episode begins a new card."""
        is_open = status.get("state") == RECORDING
        if is_open and (
            not self._is_open or status.get("episode") != self._episode.get("episode")
        ):
            for side, hand in self._hands.items():
                self._hands[side] = _Hand(edge_since=hand.edge_since, was_engaged=hand.was_engaged)
        self._is_open = is_open
        if is_open:
            self._episode = {
                key: status.get(key) for key in ("episode", "seconds", "dropped", "streams")
            }

    def see_operator(self, side: str, status: Mapping[str, object], now: float) -> None:
        """Take an operator's status at a monotonic time [s]."""
        hand = self._hands[side]
        engaged = status.get("clutch") == "engaged"
        if self._is_open and hand.was_engaged and not engaged and status.get("reason"):
            hand.losses += 1
        hand.was_engaged = engaged
        if hand.edge_since is not None:
            hand.edge += (now - hand.edge_since) * self._is_open
        hand.edge_since = now if status.get("out_of_reach") else None

    def document(self, now: float) -> dict[str, object]:
        """The card as JSON would have it; empty before the first episode."""
        if not self._episode:
            return {}
        streams = self._episode.get("streams")
        gaps = {
            name: stream["gaps"]
            for name, stream in (streams.items() if isinstance(streams, Mapping) else ())
            if isinstance(stream, Mapping) and stream.get("gaps")
        }
        return {
            "episode": self._episode["episode"],
            "seconds": self._episode["seconds"],
            "dropped": self._episode["dropped"],
            "gaps": gaps,
            "hands": {
                side: {"losses": hand.losses, "edge": round(self._edge(hand, now), 1)}
                for side, hand in self._hands.items()
            },
        }

    def _edge(self, hand: _Hand, now: float) -> float:
        since = hand.edge_since
        return hand.edge + (now - since if self._is_open and since is not None else 0.0)
