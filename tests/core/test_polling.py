"""Messages taken by hand: the newest one counts, and it came since the last look."""

import time
from types import SimpleNamespace
from unittest import mock

import pytest

pytest.importorskip("rclpy")

from ate_core.nodes.polling import PolledMessages, PolledTopic
from ate_core.nodes.qos import POLLED_COMMAND_QOS, SENSOR_QOS

pytestmark = pytest.mark.ros

MS = 1_000_000
START = 10**12


def wall_now():
    return SimpleNamespace(nanoseconds=time.time_ns())


class Queue:
    """A topic that is fed by hand; messages came so long ago on the wall clock [ns]."""

    def __init__(self, period_ns=0):
        self.waiting, self.used, self.told = [], [], []
        handle = mock.MagicMock()
        handle.take_message = lambda *_: self.waiting.pop(0) if self.waiting else None
        self.node = SimpleNamespace(
            create_subscription=lambda *_, **__: SimpleNamespace(handle=handle),
            get_clock=lambda: SimpleNamespace(now=wall_now),
            get_logger=lambda: SimpleNamespace(error=self.told.append),
        )
        self.topic = PolledTopic(self.node, object, "/state", self.use, period_ns)
        self.topic.poll(START)

    def use(self, data, came_ns):
        if data == b"bad":
            raise ValueError("no numbers")
        self.used.append((data, came_ns))

    def hear(self, data, ago_ns=0):
        self.waiting.append((data, {"received_timestamp": time.time_ns() - ago_ns}))


def test_only_the_newest_of_what_waits_is_used_and_once():
    queue = Queue()
    for data in (b"bad", b"one", b"two"):
        queue.hear(data)
    queue.topic.poll(START + 5 * MS)
    queue.topic.poll(START + 10 * MS)
    assert [data for data, _ in queue.used] == [b"two"]
    assert not queue.told


def test_a_message_that_waited_behind_a_stall_is_as_old_as_it_is():
    queue = Queue()
    queue.hear(b"state", ago_ns=300 * MS)
    queue.topic.poll(START + 500 * MS)
    ((_, came),) = queue.used
    assert START + 190 * MS < came <= START + 200 * MS


@pytest.mark.parametrize("step_s", [-3600, -1, 1, 3600])
def test_a_wall_clock_that_is_set_does_not_move_it_out_of_the_time_since_the_last_look(step_s):
    queue = Queue()
    queue.hear(b"state", ago_ns=step_s * 10**9)
    queue.topic.poll(START + 5 * MS)
    ((_, came),) = queue.used
    assert START <= came <= START + 5 * MS


def test_whoever_floods_the_topic_does_not_hold_the_loop():
    queue = Queue()
    for number in range(100):
        queue.hear(b"%d" % number)
    queue.topic.poll(START + 5 * MS)
    assert len(queue.waiting) == 100 - SENSOR_QOS.depth


def test_the_queue_is_not_looked_at_more_often_than_asked():
    queue = Queue(period_ns=20 * MS)
    queue.hear(b"state")
    queue.topic.poll(START + 15 * MS)
    assert not queue.used
    queue.topic.poll(START + 25 * MS)
    assert queue.used


def test_bad_values_are_told_and_end_nothing():
    queue = Queue()
    queue.hear(b"bad")
    queue.topic.poll(START + 5 * MS)
    assert "1 messages on /state with bad values" in queue.told[0]


def joints(name):
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import JointState

    return bytes(serialize_message(JointState(name=[name])))


def test_commands_are_all_taken_in_their_order_and_the_bad_ones_are_told():
    """One that cannot be decoded or that is refused takes none of the others with it."""
    from sensor_msgs.msg import JointState

    queue, taken = Queue(), []

    def take(message, info):
        if message.name == ["odd"]:
            raise ValueError("no such joint")
        taken.append((message.name[0], info["publication_sequence_number"]))

    topic = PolledMessages(queue.node, JointState, "/command", take, POLLED_COMMAND_QOS)
    for number, data in enumerate((joints("one"), b"", joints("odd"), joints("two"))):
        queue.waiting.append((data, {"publication_sequence_number": number}))
    topic.poll()
    assert taken == [("one", 0), ("two", 3)]
    assert "/command" in queue.told[0]
    for number in range(100):
        queue.waiting.append((joints("many"), {"publication_sequence_number": number}))
    topic.poll()
    assert len(taken) == 2 + POLLED_COMMAND_QOS.depth
