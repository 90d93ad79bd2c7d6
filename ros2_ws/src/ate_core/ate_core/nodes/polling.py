"""Topics whose messages a loop takes by hand, when it has use for them.

Waking an executor for every message of a stream costs several per cent of a core, to store what
only the loop looks at.
"""

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile

from ate_core.nodes.listening import decoded, guarded
from ate_core.nodes.qos import SENSOR_QOS


class PolledGroup(CallbackGroup):
    """Keeps its subscriptions away from the executor: somebody takes the messages by hand."""

    def can_execute(self, entity: object) -> bool:
        """Never."""
        return False

    def beginning_execution(self, entity: object) -> bool:
        """Never."""
        return False

    def ending_execution(self, entity: object) -> None:
        """Nothing was begun."""


Info = dict[str, int | None]
"""What the middleware says of a message."""


class _Queue:
    """What waits in the queue of a topic."""

    def __init__(
        self,
        node: Node,
        kind: type[Any],
        topic: str,
        use: Callable[[bytes, Info], None],
        qos: QoSProfile,
    ) -> None:
        self.use = guarded(node, topic, use)
        self._kind, self._depth = kind, qos.depth
        self._group = PolledGroup()
        self._subscription = node.create_subscription(
            kind, topic, self.use, qos, callback_group=self._group, raw=True
        )

    def taken(self) -> list[tuple[bytes, Info]]:
        """Take what waits, the oldest first."""
        waiting: list[tuple[bytes, Info]] = []
        handle = self._subscription.handle
        with handle:
            # Not until it is empty: whoever floods the topic must not hold the loop.
            while len(waiting) < self._depth:
                one = handle.take_message(self._kind, True)
                if one is None:
                    break
                waiting.append(one)
        return waiting


class PolledMessages:
    """Every message of a topic, taken by one thread that asks for them now and then."""

    def __init__(
        self,
        node: Node,
        kind: type[Any],
        topic: str,
        take: Callable[[Any, Info], object],
        qos: QoSProfile,
    ) -> None:
        """Subscribe.

        Args:
            node: that listens.
            kind: of the messages.
            topic: their name.
            take: called with each message and what the middleware says of it; bad values that it
                raises are told, as `listen` tells them.
            qos: quality of service; its depth is what may wait between two looks.
        """

        def use(data: bytes, info: Info) -> None:
            take(decoded(kind, data), info)

        self._queue = _Queue(node, kind, topic, use, qos)

    def poll(self) -> None:
        """Take what came since the last look, in its order."""
        for data, info in self._queue.taken():
            self._queue.use(data, info)


class PolledTopic:
    """The newest message of a topic, taken by one thread that asks for it now and then."""

    def __init__(
        self,
        node: Node,
        kind: type[Any],
        topic: str,
        use: Callable[[bytes, int], None],
        period_ns: int = 0,
    ) -> None:
        """Subscribe.

        Args:
            node: that listens.
            kind: of the messages.
            topic: their name.
            use: takes the newest bytes and when they came [ns, monotonic]; bad values that it
                raises are told, as `listen` tells them.
            period_ns: least time between two looks at the queue [ns].
        """
        self._queue = _Queue(node, kind, topic, self._use, SENSOR_QOS)
        self._clock, self._take = node.get_clock(), use
        self._period_ns = period_ns
        self._polled_ns = self._since_ns = 0

    def poll(self, now_ns: int) -> None:
        """Use what came since the last look, unless that was just before `now_ns` [monotonic]."""
        since_ns = now_ns - self._polled_ns
        if since_ns < self._period_ns:
            return
        self._polled_ns, self._since_ns = now_ns, since_ns
        waiting = self._queue.taken()
        if waiting:
            self._queue.use(*waiting[-1])  # the others are never decoded

    def _use(self, data: bytes, info: Info) -> None:
        waited_ns = self._clock.now().nanoseconds - (info["received_timestamp"] or 0)
        # It came since the last look, whatever the wall clock did meanwhile.
        self._take(data, self._polled_ns - min(max(waited_ns, 0), self._since_ns))
