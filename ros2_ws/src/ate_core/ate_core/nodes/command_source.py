"""Which publisher sent a command, for the lease that belongs to one of them.

ROS tells a subscriber the sequence number that the publisher gave a message, and who publishes on
a topic, but not which of them sent this one. So every publisher is followed along its own line of
numbers, which only grows; messages of two commanders of one name are told apart by it. Where two
lines run so close that a message fits both, both are refused: an arm holds rather than follow two.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ate_core.commanders import commander_name
from ate_core.lease import LOST_MESSAGES, Mark

if TYPE_CHECKING:
    from rclpy.node import Node

HIGHEST_RATE = 500.0
"""Messages that one publisher sends per second at most [1/s]: bounds the numbers it can skip."""
SPARE = 1
"""Numbers that may be skipped at any time: the depth of a command's queue is one."""
CONTESTED_FOR = 0.6
"""How long both are refused after their messages fitted one line [s]; longer than a lease."""
RECENT = 250
"""Numbers back within which a line may hold a message that was another's."""
FORGOTTEN_AFTER = 30.0
"""Silence after which a line is forgotten [s]."""
STARTING = 2.0
"""Publishers found so long after the first look at the graph may have been sending before [s]."""
FOUND = 1.0
"""A publisher that was in the graph for so long is heard from its next message on [s]."""
MOST_LEFT = 64
"""Publishers that are remembered after they left."""
GRAPH_PERIOD = 0.25
"""The graph is asked at most this often [s]; it costs 0.2 ms."""
MOST_FRAMES = 32
"""Names that are followed at a time."""
LONGEST_NAME = 80
"""Characters of a ``frame_id`` that can name a commander."""


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who sent a command."""

    commander: str
    """Name of the commander: the ``frame_id`` up to ``#``."""
    source: str
    """Its publisher; another text is another publisher. Empty when it cannot be told."""
    refusal: str = ""
    """Why it cannot be told; the command is refused then."""
    number: int | None = None
    """The publisher's own count of its messages; None: the middleware tells none."""
    joined: bool = False
    """Whether the publisher was found only now, and had sent messages before."""

    def mark(self, made_ns: int) -> Mark:
        """Mark of the message for a lease; ``made_ns``: stamp of its header [ns]."""
        return Mark(number=self.number, made_ns=made_ns, joined=self.joined)


@dataclass(kw_only=True, eq=False)
class _Line:
    """Messages of one publisher, as far as is known."""

    source: str
    sequence: int
    stamp_ns: int
    heard: float
    gid: str = ""


@dataclass(kw_only=True)
class _Frame:
    """Lines of all publishers that sign with one ``frame_id``."""

    lines: list[_Line] = field(default_factory=list)
    born: int = 0
    contested_until: float = float("-inf")


def unique_commander(name: str) -> str:
    """A ``frame_id`` for the commands of this process: its name and a token of its own."""
    return f"{name}#{secrets.token_hex(4)}"


def commander_of(source: str) -> str:
    """Commander of a source that `CommandSources` named."""
    return commander_name(source.rpartition("/")[0])


def publishers_of(node: Node, topic: str) -> Callable[[], Sequence[str]]:
    """A function that lists the identifiers of a topic's publishers."""

    def gids() -> Sequence[str]:
        found = node.get_publishers_info_by_topic(topic)
        return [bytes(info.endpoint_gid).hex() for info in found]

    return gids


class KnownPublishers:
    """Identifiers of a topic's publishers, asked in one thread and told at once in any."""

    def __init__(self, ask: Callable[[], Sequence[str]]) -> None:
        """Ask for the first time; ``ask``: see `publishers_of`."""
        self._ask = ask
        self.refresh()

    def refresh(self) -> None:
        """Ask again; this may wait for the middleware."""
        self._gids = self._ask()

    def __call__(self) -> Sequence[str]:
        """Identifiers as of the last `refresh`."""
        return self._gids


class CommandSources:
    """Publishers of one command topic, for any thread. Time is an argument."""

    def __init__(self, publishers: Callable[[], Sequence[str]]) -> None:
        """Prepare.

        Args:
            publishers: lists the identifiers of the topic's publishers, see `publishers_of`.
        """
        self._publishers = publishers
        self._lock = threading.Lock()
        self._frames: dict[str, _Frame] = {}
        self._gids: dict[str, float] = {}  # publishers in the graph, and since when
        self._left: dict[str, None] = {}  # those that were, the newest last
        self._began = self._asked = float("-inf")

    def identify(self, frame_id: str, info: Mapping[str, int | None], now: float) -> Sender:
        """Tell who sent a message.

        Args:
            frame_id: of its header.
            info: message information of rclpy.
            now: present monotonic time [s].
        """
        commander = commander_name(frame_id)
        if len(frame_id) > LONGEST_NAME:
            return Sender(
                commander=commander[:LONGEST_NAME],
                source="",
                refusal=f"frame_id has {len(frame_id)} characters, bound {LONGEST_NAME}",
            )
        sequence, stamp_ns = info.get("publication_sequence_number"), info["source_timestamp"]
        if sequence is None or stamp_ns is None:
            return Sender(commander=commander, source=frame_id)  # a middleware without numbers
        with self._lock:
            return self._sender(commander, frame_id, sequence, stamp_ns, now)

    def _sender(
        self, commander: str, frame_id: str, sequence: int, stamp_ns: int, now: float
    ) -> Sender:
        self._look(now)
        if frame_id not in self._frames and len(self._frames) >= MOST_FRAMES:
            del self._frames[next(iter(self._frames))]
        frame = self._frames.setdefault(frame_id, _Frame())
        born = frame.born
        line = self._line_of(frame, frame_id, sequence, stamp_ns, now)
        sent_others = frame.born > born and sequence > 1 + LOST_MESSAGES
        joined = sent_others and self._was_unheard(line, now)
        if now < frame.contested_until:
            return Sender(commander=commander, source="", refusal=self._contest(commander))
        return Sender(commander=commander, source=line.source, number=sequence, joined=joined)

    def departed(self, now: float) -> list[str]:
        """Sources whose publisher has left the graph since the last call."""
        gone = []
        with self._lock:
            self._look(now)
            for frame in self._frames.values():
                for line in [line for line in frame.lines if line.gid]:
                    if line.gid not in self._gids:
                        frame.lines.remove(line)
                        gone.append(line.source)
        return gone

    def _look(self, now: float) -> None:
        if now - self._asked < GRAPH_PERIOD:
            return
        if self._asked == float("-inf"):
            self._began = now
        self._asked, known = now, self._gids
        self._gids = {gid: known.get(gid, now) for gid in self._publishers()}
        self._left |= dict.fromkeys(known.keys() - self._gids.keys())
        for gid in list(self._left)[:-MOST_LEFT]:
            del self._left[gid]
        for name, frame in list(self._frames.items()):
            frame.lines = [line for line in frame.lines if now - line.heard < FORGOTTEN_AFTER]
            if not frame.lines:
                del self._frames[name]

    def _line_of(
        self, frame: _Frame, frame_id: str, sequence: int, stamp_ns: int, now: float
    ) -> _Line:
        """Line that a message continues, or a new one."""
        fitting = [line for line in frame.lines if _continues(line, sequence, stamp_ns)]
        live = [line for line in frame.lines if now - line.heard < CONTESTED_FOR]
        # A number that a line has passed: some of that line's messages may have been another's.
        # From one on, a publisher has only begun, and none of them were.
        passed = sequence > 1 and any(0 <= line.sequence - sequence <= RECENT for line in live)
        if sum(line in live for line in fitting) > 1 or (not fitting and passed):
            frame.contested_until = now + CONTESTED_FOR
        if fitting:
            line = max(fitting, key=lambda line: line.heard)
        else:
            frame.born += 1
            source = f"{frame_id}/{frame.born}"
            line = _Line(source=source, sequence=sequence, stamp_ns=stamp_ns, heard=now)
            frame.lines.append(line)
        line.sequence, line.stamp_ns, line.heard = sequence, stamp_ns, now
        if not line.gid:
            line.gid = self._only_unnamed(line)
        return line

    def _only_unnamed(self, line: _Line) -> str:
        """Identifier of a line when just one publisher and this line are left without a match."""
        lines = [other for frame in self._frames.values() for other in frame.lines]
        free = self._gids.keys() - {other.gid for other in lines}
        unnamed = [other for other in lines if not other.gid and other is not line]
        return next(iter(free)) if len(free) == 1 and not unnamed else ""

    def _was_unheard(self, line: _Line, now: float) -> bool:
        """Whether messages of a new line may have been missed, as of a stream that went on.

        So it is when its publisher was found just now, and was there before: when this process
        started, or before it left the graph. Who starts to send by itself is another case.
        """
        lined = {other.gid for frame in self._frames.values() for other in frame.lines}
        gids = [line.gid] if line.gid else [gid for gid in self._gids if gid not in lined]
        if not gids:
            return now - self._began < STARTING
        return any(
            now - self._gids.get(gid, now) < FOUND
            and (gid in self._left or self._gids.get(gid, now) - self._began < STARTING)
            for gid in gids
        )

    def _contest(self, commander: str) -> str:
        return (
            f"two publishers command as {commander} and cannot be told apart: end one, or give "
            f"each its own frame_id, as {commander}#1"
        )


def _continues(line: _Line, sequence: int, stamp_ns: int) -> bool:
    """Whether a message can be the next of a line: later, and no more skipped than time allows."""
    skipped = sequence - line.sequence - 1
    elapsed = (stamp_ns - line.stamp_ns) / 1e9
    return 0 <= skipped <= SPARE + max(elapsed, 0.0) * HIGHEST_RATE
