"""What a hand feels: one vocabulary for both people, told by what has just happened."""

import json
from dataclasses import replace

import pytest

from ate_teleop.clutch import ClutchState
from ate_teleop.hand_words import PATTERNS, HandWords, Senses, Word, edge_pattern

WELL = Senses(clutch=ClutchState.ENGAGED)


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ({"clutch": ClutchState.ENGAGING}, {}, Word.ENGAGED),
        ({}, {"clutch": ClutchState.BLOCKED}, Word.LOST),
        ({}, {"other_stopped": True}, Word.OTHER_STOPPED),
        ({"kept": 3}, {"kept": 4}, Word.KEPT),
        ({"discarded": 1}, {"discarded": 2}, Word.DISCARDED),
        ({}, {"refused": 1}, Word.ERROR),
        ({}, {"clutch": ClutchState.BLOCKED, "other_stopped": True}, Word.LOST),
    ],
)
def test_a_change_is_felt_once(before: dict, after: dict, word: Word) -> None:
    words = HandWords()
    assert words.step(replace(WELL, **before), 0.0) == ()
    assert words.step(replace(WELL, **after), 0.01) == PATTERNS[word]
    assert words.step(replace(WELL, **after), 5.0) == ()


def test_letting_the_clutch_go_on_purpose_is_felt_by_nobody() -> None:
    words = HandWords()
    words.step(WELL, 0.0)
    assert words.step(replace(WELL, clutch=ClutchState.RELEASED), 0.01) == ()


def test_the_edge_of_reach_grows_with_the_distance_and_repeats() -> None:
    words, felt = HandWords(), []
    for tick in range(100):
        pattern = words.step(replace(WELL, beyond=0.001 * tick), 0.01 * tick)
        felt += [buzz.amplitude for buzz, _ in pattern]
    assert 3 <= len(felt) <= 5
    assert felt == sorted(set(felt))
    assert edge_pattern(9.9)[0][0].amplitude == 1.0


def test_every_word_sounds_different() -> None:
    assert len(set(PATTERNS.values())) == len(PATTERNS) == len(Word) - 1


def test_the_status_of_an_arm_tells_trouble_and_what_is_near() -> None:
    pytest.importorskip("rclpy")
    from std_msgs.msg import String

    from ate_teleop.nodes.news import arm_news

    def news(**status: object):
        return arm_news(String(data=json.dumps(status)))

    assert news(state="fault", reason="joint 3 too hot").trouble == "fault: joint 3 too hot"
    assert news(state="tracking", reason="", guard="slowed: table").guard == "slowed: table"
    assert news(state="tracking", reason="x").trouble == ""
    assert arm_news(String(data="{")) is None


def test_an_operator_is_told_where_the_other_one_stands():
    pytest.importorskip("rclpy")
    from std_msgs.msg import String

    from ate_teleop.nodes.news import operator_news

    def news(**status: object):
        return operator_news(String(data=json.dumps(status)))

    assert news(clutch="engaged", reason="", joycon=True) == "engaged"
    assert news(clutch="blocked", reason="hand jumped", joycon=True) == "blocked: hand jumped"
    assert news(clutch="blocked", reason="x", frozen=True) == "frozen"
    assert news(clutch="released", joycon=False) == "Joy-Con silent"
    assert operator_news(String(data="[]")) is None
    assert operator_news(String(data="{")) is None
