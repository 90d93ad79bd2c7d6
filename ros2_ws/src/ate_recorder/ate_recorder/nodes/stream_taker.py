"""Takes raw messages of many topics in one polling thread.

An executor wakes once per message and looks at every subscription each time; with some thirty
streams and a thousand messages a second that alone is most of a core. Here the middleware queues
(deep enough for a second) and one thread empties them fifty times a second. Messages are handed
on as CDR bytes and never decoded.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from ate_core.streams import StreamSpec
from ate_recorder.bag_writer import TYPESTORE
from ate_recorder.clocks import read_clocks, receipt_ns
from ate_recorder.publishers import Senders, has_ended
from ate_recorder.sample import Sample

POLL_PERIOD = 0.02
"""Pause between two passes over all topics [s]."""
MATCH_PERIOD = 0.5
"""Pause between two looks at the graph for publishers [s]."""
CATCH_UP = 1.0
"""Longest time that is waited for a pass over all topics [s]."""
DEPTH = 200
"""Messages queued per topic: two seconds at 100 Hz."""
IMAGE_DEPTH = 60
"""Images queued per camera: two seconds at 30 Hz."""


class Recorder(Protocol):
    """What takes the messages, in the polling thread."""

    def receive(self, sample: Sample) -> None:
        """Take one message."""

    def see_clock(self, now_ns: int, wall_ns: int) -> None:
        """Take a look at both clocks [ns], before and after the messages of each pass."""

    def describe(self, topic: str, *, reliable: bool, latched: bool, publishers: int) -> None:
        """Take what a topic's publishers offer, at each look at the graph."""

    def refuse(self, topic: str, reason: str) -> None:
        """Take why a topic's publisher is not recorded; empty text where all are."""


_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Offer:
    """Quality of service of a topic's publishers."""

    reliable: bool
    latched: bool


class StreamTaker:
    """Subscribes to each stream as its publisher offers it and hands the bytes on.

    The node must not be added to an executor: its subscriptions are polled here.

    Args:
        node: Node of its own for the subscriptions.
        streams: What to subscribe to.
        recorder: Takes them.
    """

    def __init__(
        self,
        node: Node,
        streams: Iterable[StreamSpec],
        recorder: Recorder,
    ) -> None:
        self._node = node
        self._streams = list(streams)
        self._recorder = recorder
        self._offers: dict[str, _Offer] = {}
        self._subscriptions: dict[StreamSpec, Subscription] = {}
        self._refused: set[str] = set()
        self._senders = {spec.topic: Senders() for spec in self._streams}
        self._own = b""  # identifier of an endpoint of ours
        self._failure: Exception | None = None
        self._stop = threading.Event()
        self._begun = self._ended = 0  # passes over all topics
        self._pass_ended = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="stream_taker")
        self._thread.start()

    def stop(self) -> None:
        """End the polling thread and wait for it."""
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what ended the polling thread, if anything did; call it now and then."""
        if self._failure is not None:
            raise self._failure

    def catch_up(self) -> None:
        """Wait until all that has arrived by now is handed on."""
        wanted = self._begun + 1
        with self._pass_ended:
            self._pass_ended.wait_for(lambda: self._ended >= wanted, timeout=CATCH_UP)

    def _run(self) -> None:
        try:
            self._poll()
        except Exception as error:  # raised again by check(), in a thread that is looked after
            self._failure = error

    def _poll(self) -> None:
        match_at = 0.0
        previous = read_clocks()
        while not self._stop.wait(POLL_PERIOD):
            self._begun += 1
            now = read_clocks()
            self._recorder.see_clock(*now)
            if time.monotonic() >= match_at:
                for spec in self._streams:
                    self._match(spec)
                match_at = time.monotonic() + MATCH_PERIOD
            for spec, subscription in self._subscriptions.items():
                self._empty(spec, subscription, previous)
            previous = now
            self._recorder.see_clock(*read_clocks())  # a step before the last message is told
            with self._pass_ended:
                self._ended = self._begun
                self._pass_ended.notify_all()

    def _empty(
        self, spec: StreamSpec, subscription: Subscription, earlier: tuple[int, int]
    ) -> None:
        """Hand on what has arrived since the last pass, which began at a look at both clocks."""
        handle, senders = subscription.handle, self._senders[spec.topic]
        with handle:
            while (taken := handle.take_message(subscription.msg_type, True)) is not None:
                data, info = taken
                now = read_clocks()
                number = info["publication_sequence_number"]
                received_ns = info["received_timestamp"]
                self._recorder.receive(
                    Sample(
                        spec=spec,
                        data=data,
                        receive_ns=receipt_ns(now, received_ns, earlier),
                        wall_ns=received_ns,
                        number=number or 0,
                        missed=senders.hear(number, time.monotonic_ns()),
                    )
                )

    def _match(self, spec: StreamSpec) -> None:
        """Subscribe as the publishers offer, anew when that changes."""
        publishers = self._node.get_publishers_info_by_topic(spec.topic)
        wrong = [reason for info in publishers if (reason := _wrong_type(spec, info))]
        self._refuse(spec, wrong[0] if wrong else "")
        sound = [info for info in publishers if not _wrong_type(spec, info)]
        if not sound:
            return
        profiles = [info.qos_profile for info in sound]
        offer = _Offer(
            reliable=all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles),
            latched=all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles),
        )
        self._recorder.describe(
            spec.topic,
            reliable=offer.reliable,
            latched=offer.latched,
            publishers=self._count(spec.topic, sound),
        )
        if self._offers.get(spec.topic) == offer:
            return
        previous = self._subscriptions.pop(spec, None)
        if previous is not None:
            self._node.destroy_subscription(previous)
        self._offers[spec.topic] = offer
        self._subscriptions[spec] = self._subscribe(spec, offer)

    def _subscribe(self, spec: StreamSpec, offer: _Offer) -> Subscription:
        package, _, name = spec.msgtype.split("/")
        message = getattr(importlib.import_module(f"{package}.msg"), name)
        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=IMAGE_DEPTH if spec.kind == "image" else DEPTH,
            reliability=(
                ReliabilityPolicy.RELIABLE if offer.reliable else ReliabilityPolicy.BEST_EFFORT
            ),
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if offer.latched else DurabilityPolicy.VOLATILE
            ),
        )
        return self._node.create_subscription(message, spec.topic, _unused, qos, raw=True)

    def _count(self, topic: str, publishers: list[TopicEndpointInfo]) -> int:
        """How many publishers a topic has; the process of one of two may have been killed."""
        if len(publishers) < 2:
            return len(publishers)
        own = self._own_endpoint(topic)
        alive = [one for one in publishers if not has_ended(bytes(one.endpoint_gid), own)]
        return max(len(alive), self._senders[topic].count(time.monotonic_ns()))

    def _own_endpoint(self, topic: str) -> bytes:
        """Identifier of our subscription to a topic; empty before there is one."""
        if not self._own:
            for info in self._node.get_subscriptions_info_by_topic(topic):
                if info.node_name == self._node.get_name():
                    self._own = bytes(info.endpoint_gid)
        return self._own

    def _refuse(self, spec: StreamSpec, reason: str) -> None:
        """Tell why a publisher is not recorded; once in the log."""
        self._recorder.refuse(spec.topic, reason)
        if reason and spec.topic not in self._refused:
            self._refused.add(spec.topic)
            _LOG.error("%s is not recorded: %s", spec.topic, reason)


def _wrong_type(spec: StreamSpec, info: TopicEndpointInfo) -> str:
    """Why a publisher's type is not what the bag would claim; empty text where it is."""
    offered, digest = info.topic_type, str(info.topic_type_hash)
    if offered == spec.msgtype and digest in ("INVALID", TYPESTORE.hash_rihs01(offered)):
        return ""
    return (
        f"published as {offered} ({digest}), the contract wants {spec.msgtype}; "
        "correct the publisher"
    )


def _unused(data: bytes) -> None:
    """Stand in for the callback that only an executor would call."""
