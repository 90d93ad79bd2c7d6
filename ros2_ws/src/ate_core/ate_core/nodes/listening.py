"""How a node hears others: a message with bad values is refused and told, and ends nothing.

Every subscription of ours to what other nodes publish is made by `listen`, or polled by a loop
(`ate_core.nodes.polling`), except to stops, of which nothing may be passed over. What a callback
raises because of *values* (`VALUE_ERRORS`: out of range, not there, no number, our own errors) is
the message's fault: the message is dropped, counted and told at most once a second; so a driver
outlives whatever is sent to it, and holds its arm as it does without messages. Every other
exception is an error of the *program* and ends the process as anywhere (`ate_core.nodes.runner`).
"""

import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription

from ate_core.errors import AteError

VALUE_ERRORS = (ValueError, LookupError, ArithmeticError, AteError)
"""What values from elsewhere can make a callback raise; never the mark of a typing error."""
LONGEST_REASON = 200
"""Characters of a reason that are told."""
TOLD_PERIOD = 1.0
"""Bad messages of one topic are told at most this often [s]."""

Message = TypeVar("Message")


def listen(
    node: Node,
    kind: type[Message],
    topic: str,
    take: Callable[..., object],
    qos: QoSProfile,
) -> Subscription:
    """Subscribe a node to a topic of others.

    Args:
        node: who listens.
        kind: type of the messages.
        topic: where.
        take: called with each message, and with its message information where it takes two.
        qos: quality of service.
    """
    return node.create_subscription(kind, topic, guarded(node, topic, take), qos)


def guarded(node: Node, topic: str, take: Callable[..., object]) -> Callable[..., None]:
    """A callback that drops messages with bad values.

    Args:
        node: tells it.
        topic: where the messages come from.
        take: the callback.
    """
    refused, told_at = 0, float("-inf")

    @functools.wraps(take)  # rclpy looks at the signature
    def guard(*message: Any) -> None:
        nonlocal refused, told_at
        try:
            take(*message)
        except VALUE_ERRORS as error:
            refused += 1
            now = time.monotonic()
            if now - told_at >= TOLD_PERIOD:
                told_at = now
                node.get_logger().error(
                    f"{refused} messages on {topic} with bad values were refused: "
                    f"{error!r:.{LONGEST_REASON}}; correct their publisher"
                )

    return guard


def decoded(kind: type[Message], data: bytes) -> Message:
    """The message that these bytes are, as an executor decodes it.

    Args:
        kind: type of the message.
        data: as taken from a raw subscription.

    Raises:
        ValueError: they are no such message.
    """
    try:
        message: Message = deserialize_message(data, kind)
    except RuntimeError:  # of the middleware, which names the place in its own source
        raise ValueError(f"{len(data)} bytes that are no {kind.__name__}") from None
    return message
