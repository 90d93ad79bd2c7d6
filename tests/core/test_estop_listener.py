"""The emergency stop as one node hears it, without DDS."""

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from std_msgs.msg import String

from ate_core.nodes.estop import MOST_INSTANCES, REQUEST_TOPIC, STATE_TOPIC, EstopListener


class Ear:
    """A listener whose topics are called by the test."""

    def __init__(self) -> None:
        self.topics = {}
        self.changes = []
        self.warnings = []
        self.now_ns = 1_700_000_000 * 10**9
        self.publishers = ["estop"]
        """Names of the nodes that publish the state."""
        node = SimpleNamespace(
            create_subscription=self._subscribe,
            get_clock=lambda: SimpleNamespace(
                now=lambda: SimpleNamespace(nanoseconds=self.now_ns)
            ),
            get_logger=lambda: SimpleNamespace(
                warning=lambda text, **_: self.warnings.append(text)
            ),
            get_publishers_info_by_topic=lambda topic: [
                SimpleNamespace(node_name=name) for name in self.publishers if topic == STATE_TOPIC
            ],
        )
        self.listener = EstopListener(node, self.changes.append)

    def _subscribe(self, kind, topic, callback, qos) -> None:
        self.topics[topic] = callback

    def request(self, reason: str) -> None:
        self.topics[REQUEST_TOPIC](String(data=reason))

    def hear(self, **state) -> None:
        known = {"stopped": False, "reason": "", "instance": "a", "resets": 0}
        known["stamp_ns"] = self.now_ns
        self.topics[STATE_TOPIC](String(data=json.dumps(known | state)))


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "7", "{", '{"stopped": false}',
     '{"stopped": false, "reason": "", "instance": "a", "resets": Infinity}',
     '{"stopped": false, "reason": "", "instance": "a", "resets": 1e999}',
     '{"stopped": false, "reason": "", "instance": "a", "resets": "one"}',
     '{"stopped": false, "reason": "", "instance": "a", "resets": 1}',
     '{"stopped": false, "reason": "", "instance": "a", "resets": 1, "stamp_ns": null}',
     "[" * 100_000, '{"stopped":' * 100_000],
    ids=lambda text: text[:24] or "empty",
)  # fmt: skip
def test_state_that_is_not_readable_stops_and_ends_nobody(text) -> None:
    ear = Ear()
    ear.topics[STATE_TOPIC](String(data=text))
    assert "not readable" in ear.listener.reason
    assert len(ear.changes) == 1


def test_only_a_reset_of_a_node_that_was_heard_before_ends_the_latch() -> None:
    ear = Ear()
    ear.hear(resets=3)
    ear.request("hand in the cell")
    for instance, resets in (("a", 3), ("b", 9), ("a", 2)):
        ear.hear(instance=instance, resets=resets)
        assert ear.listener.reason == "hand in the cell"
    ear.hear(resets=4)
    assert ear.changes == ["hand in the cell", ""]


@pytest.mark.parametrize("age", [1.5, -1.5, 100 * 86400.0])
def test_a_reset_of_another_time_ends_nothing_and_a_stop_of_it_counts(age) -> None:
    ear = Ear()
    then_ns = ear.now_ns - round(age * 1e9)
    ear.hear(resets=0)
    ear.hear(resets=0, instance="played", stamp_ns=then_ns)
    ear.request("hand in the cell")
    for instance in ("a", "played"):
        ear.hear(stopped=True, instance=instance, stamp_ns=then_ns)
        ear.hear(resets=1, instance=instance, stamp_ns=then_ns)
        assert ear.listener.reason == "hand in the cell"
    assert "bound 1 s: is a recording played" in ear.warnings[-1]
    ear.hear(resets=1)  # told again, in time
    assert ear.changes == ["hand in the cell", ""]
    ear.hear(stopped=True, reason="of old", instance="played", stamp_ns=then_ns)
    assert ear.listener.reason == "of old"


def test_a_reset_counts_where_two_stop_nodes_run() -> None:
    ear = Ear()
    for _ in range(3):
        ear.hear(instance="a", resets=1)
        ear.hear(instance="b", resets=5)
    ear.request("hand in the cell")
    ear.hear(instance="b", resets=6)
    assert not ear.listener.reason


def test_invented_stop_nodes_fill_no_memory_and_keep_no_reset_away() -> None:
    ear = Ear()
    ear.hear(resets=1)
    ear.request("hand in the cell")
    for number in range(20 * MOST_INSTANCES):
        ear.hear(instance=f"invented {number}" * 1000, resets=number)
        if number % (MOST_INSTANCES // 2) == 0:
            ear.hear(stopped=True, resets=1)
    assert len(ear.listener._resets) == MOST_INSTANCES
    assert max(map(len, ear.listener._resets)) <= 500
    assert ear.listener.reason == "hand in the cell"
    ear.hear(resets=2)
    assert not ear.listener.reason


def test_a_stop_node_that_was_forgotten_resets_nothing_by_being_heard_again() -> None:
    ear = Ear()
    ear.hear(resets=1)
    ear.request("hand in the cell")
    for number in range(MOST_INSTANCES):
        ear.hear(instance=f"invented {number}")
    ear.hear(resets=2)
    assert ear.listener.reason == "hand in the cell"
    ear.hear(resets=3)
    assert not ear.listener.reason


@pytest.mark.parametrize(
    ("publishers", "told"),
    [
        (["rosbag2_player"], "rosbag2_player publishes"),
        (["estop", "_ros2cli_77"], "_ros2cli_77 publishes"),
        ([], "nobody publishes"),
    ],
    ids=["no e-stop node", "beside it", "gone again"],
)
def test_a_reset_counts_only_from_the_stop_node_and_a_stop_from_anyone(publishers, told) -> None:
    ear = Ear()
    ear.hear(resets=0)
    ear.request("hand in the cell")
    ear.publishers = publishers
    for _ in range(2):
        ear.hear(resets=1)
        assert ear.listener.reason == "hand in the cell"
    assert told in ear.warnings[-1]
    ear.publishers = ["estop"]
    ear.hear(resets=1)  # the stop node repeats it, now alone
    assert ear.changes == ["hand in the cell", ""]
    ear.publishers = publishers
    ear.hear(stopped=True, reason="somebody", resets=1)
    assert ear.listener.reason == "somebody"


def test_a_number_that_others_told_makes_no_reset_of_what_the_stop_node_repeats() -> None:
    ear = Ear()
    ear.hear(resets=3)
    ear.request("hand in the cell")
    ear.publishers = ["estop", "rosbag2_player"]
    ear.hear(stopped=True, resets=0)
    ear.publishers = ["estop"]
    ear.hear(resets=3)
    assert ear.listener.reason == "hand in the cell"


def test_a_stop_that_another_program_told_is_not_ended_by_a_reset_of_before() -> None:
    ear = Ear()
    ear.publishers = ["estop", "rosbag2_player"]
    ear.hear(stopped=True, reason="of old")
    ear.publishers = ["estop"]
    ear.hear(resets=1)  # as it was before the bag was played
    assert ear.listener.reason == "of old"
    ear.hear(resets=2)
    assert not ear.listener.reason


def test_who_has_begun_has_heard_nothing_until_the_stop_node_itself_speaks() -> None:
    ear = Ear()
    assert "no e-stop node" in ear.listener.unheard
    ear.request("hand in the cell")
    ear.hear(stamp_ns=ear.now_ns - 2 * 10**9)
    ear.hear(stopped=True, stamp_ns=ear.now_ns - 2 * 10**9)
    for publishers in ([], ["rosbag2_player"], ["estop", "rosbag2_player"]):
        ear.publishers = publishers
        ear.hear()
        ear.hear(stopped=True)
        assert "no e-stop node" in ear.listener.unheard
    assert "rosbag2_player publishes" in ear.listener.unheard, "why it is not believed"
    ear.publishers = ["estop"]
    ear.hear(stamp_ns=ear.now_ns - 3 * 10**9)
    assert "stamped 3.0 s ago, bound 1 s" in ear.listener.unheard, "as of a host of another time"
    ear.hear(stopped=True)
    assert not ear.listener.unheard and ear.listener.reason == "hand in the cell"
    ear.publishers = []
    ear.hear()
    assert not ear.listener.unheard, "heard once since the start is enough: stops need no node"


def test_a_stop_is_in_force_before_the_stop_node_counts_as_heard() -> None:
    ear = Ear()
    seen = []
    ear.listener._on_change = lambda reason: seen.append((reason, bool(ear.listener.unheard)))
    ear.hear(stopped=True, reason="hand in the cell")
    assert seen == [("hand in the cell", True)] and not ear.listener.unheard
