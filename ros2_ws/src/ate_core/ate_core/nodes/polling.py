"""Topics whose messages a loop takes by hand, when it has use for them.

Waking an executor for every message of a stream costs several per cent of a core, to store what
only the loop looks at.
"""

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from ate_core.nodes.listening import guarded
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
        self._kind, self._clock = kind, node.get_clock()
        self._group = PolledGroup()
        self._subscription = node.create_subscription(
            kind,
            topic,
            lambda _: None,
            SENSOR_QOS,
            callback_group=self._group,
            raw=True,
        )
        self._use = guarded(node, topic, use)
        self._period_ns = period_ns
        self._polled_ns = 0

    def poll(self, now_ns: int) -> None:
        """Use what came since the last look, unless that was just before `now_ns` [monotonic]."""
        since_ns = now_ns - self._polled_ns
        if since_ns < self._period_ns:
            return
        self._polled_ns = now_ns
        newest: tuple[bytes, dict[str, int]] | None = None
        handle = self._subscription.handle
        with handle:
            for _ in range(SENSOR_QOS.depth):  # whoever floods the topic does not hold the loop
                taken = handle.take_message(self._kind, True)
                if taken is None:
                    break
                newest = taken  # all but the last are never decoded
        if newest is not None:
            data, info = newest
            waited_ns = self._clock.now().nanoseconds - info["received_timestamp"]
            # It came since the last look, whatever the wall clock did meanwhile.
            self._use(data, now_ns - min(max(waited_ns, 0), since_ns))
