"""What an operator is told of processes that run no more: their last words count no longer."""

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from std_msgs.msg import String

from ate_core.contract import load_cell
from ate_teleop.nodes import news as module
from ate_teleop.nodes.operator_node import OperatorNode
from ate_teleop.nodes.wishes import WishServices

pytestmark = pytest.mark.ros


class Link:
    """A subscription, with a publisher until that dies."""

    def __init__(self, take=None):
        self.take, self.publishers = take, 1

    def get_publisher_count(self):
        return self.publishers


@pytest.fixture
def links(monkeypatch):
    """Subscriptions by topic."""
    links = {}

    def listen(node, kind, topic, take, qos):
        links[topic] = Link(take)
        return links[topic]

    monkeypatch.setattr(module, "listen", listen)
    return links


@pytest.mark.parametrize(
    ("topic", "name"), [("arm/status", "own"), ("/right/arm/status", "other")]
)
def test_an_arm_whose_driver_has_gone_is_trouble_until_another_one_is_heard(links, topic, name):
    news, link = module.News(None, load_cell(), "left"), links[topic]
    status = String(data=json.dumps({"state": "tracking", "commander": "policy"}))
    link.publishers = 0
    news.look_for_gone()
    assert not getattr(news, name).trouble, "a cell that is being started is no trouble"
    link.publishers = 1
    link.take(status)
    news.look_for_gone()
    assert getattr(news, name).commander == "policy"
    link.publishers = 0
    news.look_for_gone()
    assert "its driver runs no more" in getattr(news, name).trouble
    assert not getattr(news, name).commander
    link.take(status)
    assert not getattr(news, name).trouble


def test_an_episode_and_a_policy_are_forgotten_with_their_nodes():
    wishes = WishServices.__new__(WishServices)  # without its clients
    wishes.episode = wishes._number = wishes.policy = ""
    node = SimpleNamespace(
        _news=SimpleNamespace(look_for_gone=lambda: None),
        _wishes=wishes, _episodes=Link(), _policies=Link(),
    )  # fmt: skip
    wishes.take_episode("recording", "3", 1.0)
    wishes.policy = "taken_over"
    OperatorNode._look_for_gone(node)
    assert (wishes.episode, wishes.policy) == ("recording", "taken_over")
    node._episodes.publishers = node._policies.publishers = 0
    OperatorNode._look_for_gone(node)
    assert (wishes.episode, wishes.policy) == ("", "")


def test_an_operator_hears_of_an_episode_that_waits_from_an_earlier_session():
    wishes = WishServices.__new__(WishServices)  # without its clients
    wishes.episode = wishes._number = ""
    node = SimpleNamespace(_news=SimpleNamespace(take_episode=lambda _: None), _wishes=wishes)
    for inherited, name in ((True, "episode 3"), (False, "")):
        status = {"state": "pending", "episode": 3, "inherited": inherited}
        OperatorNode._take_episode(node, String(data=json.dumps(status)))
        assert (wishes.episode, wishes._number, wishes.inherited) == ("pending", "3", name)


def test_an_operator_hears_what_keeps_the_recorder_from_recording(links):
    news = module.News(None, load_cell(), "left")
    for trouble in ("the disk is full in 3.0 min", ""):
        status = {"kept": 1, "discarded": 0, "trouble": trouble}
        news.take_episode(String(data=json.dumps(status)))
        assert (news.recorder, news.kept) == (trouble, 1)
