"""What is known of the streams before and while they are recorded, and whether all are there."""

from __future__ import annotations

from ate_core.contract import Cell
from ate_core.errors import EpisodeError
from ate_core.resample import NANOSECONDS
from ate_core.streams import StreamSpec, cell_streams


class StreamWatch:
    """Knows of each stream when it came last, who publishes it, and what it offers.

    Args:
        cell: The cell whose streams they are.
        images: Whether an episode without its cameras is refused.
        silence: Silence of a required stream after which no episode is started [s].
    """

    def __init__(self, cell: Cell, *, images: bool, silence: float) -> None:
        self.specs = {spec.topic: spec for spec in cell_streams(cell)}
        """Every stream, by topic."""
        self.qos: dict[str, tuple[bool, bool]] = {}
        """Whether the publishers of a topic are reliable, and whether latched."""
        self.not_recorded: dict[str, str] = {}
        """Why a topic is not recorded."""
        self._images = images
        self._silence = silence
        self._seen_ns: dict[str, int] = {}
        self._publishers: dict[str, int] = {}

    def required(self) -> list[StreamSpec]:
        """Return the streams without which no episode is started."""
        specs = self.specs.values()
        return [spec for spec in specs if spec.required and (self._images or spec.kind != "image")]

    def see(self, topic: str, receive_ns: int) -> None:
        """Note that a message came, at a monotonic time [ns]."""
        self._seen_ns[topic] = receive_ns

    def describe(self, topic: str, *, reliable: bool, latched: bool, publishers: int) -> None:
        """Note how many publishers a topic has and what they offer, for the bag's metadata."""
        self.qos[topic] = (reliable, latched)
        self._publishers[topic] = publishers

    def refuse(self, topic: str, reason: str) -> None:
        """Note why a publisher of a topic is not recorded; empty text where all of them are."""
        self.not_recorded.pop(topic, None)
        if reason:
            self.not_recorded[topic] = reason

    def require(self, now_ns: int) -> None:
        """Refuse an episode that would lack a stream, at a monotonic time [ns].

        Raises:
            EpisodeError: naming the stream, with the remedy.
        """
        for spec in self.required():
            seen = self._seen_ns.get(spec.topic)
            silence = None if seen is None else (now_ns - seen) / NANOSECONDS
            if silence is None or silence > self._silence:
                told = "never came" if silence is None else f"is silent for {silence:.1f} s"
                raise EpisodeError(
                    f"no episode started: {spec.topic} {told} (bound {self._silence:.1f} s);"
                    " start the node that publishes it, or see /diagnostics"
                )
            publishers = self._publishers.get(spec.topic, 1)
            if publishers > 1:
                raise EpisodeError(
                    f"no episode started: {spec.topic} has {publishers} publishers (bound 1); "
                    "stop the other cell or the old process, or set another ROS_DOMAIN_ID"
                )
