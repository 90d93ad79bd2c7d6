"""What a hand feels: one vocabulary for both people, told by what has just happened."""

import json
from dataclasses import replace

import pytest

from ate_teleop.clutch import ClutchState
from ate_teleop.hand_words import (
    FORCE_STRONGEST,
    PATTERNS,
    HandWords,
    Senses,
    Word,
    edge_pattern,
    force_pattern,
)

WELL = Senses(clutch=ClutchState.ENGAGED)
RELEASED = {"clutch": ClutchState.RELEASED}


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ({"clutch": ClutchState.ENGAGING}, {}, Word.ENGAGED),
        ({}, {"clutch": ClutchState.BLOCKED}, Word.LOST),
        ({}, {"other_stopped": True}, Word.OTHER_STOPPED),
        (RELEASED, {**RELEASED, "own_stopped": True}, Word.ERROR),
        ({}, {"clutch": ClutchState.BLOCKED, "own_stopped": True}, Word.LOST),
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
    assert len(set(PATTERNS.values())) == len(PATTERNS) == len(Word) - 2


def hear(words: HandWords, ticks: int, **senses: object):
    """Each pattern of so many ticks of 10 ms, with its time [s]."""
    told = (
        (0.01 * tick, words.step(replace(WELL, **senses), 0.01 * tick)) for tick in range(ticks)
    )
    return [(now, pattern) for now, pattern in told if pattern]


def test_a_force_is_felt_from_its_floor_on_grows_and_is_bounded():
    shares = [0.0, 0.1, 0.19, 0.2, 0.5, 1.0, 3.0, 1e9]
    felt = [pattern[0][0].amplitude for share in shares if (pattern := force_pattern(share))]
    assert felt == sorted(felt) and len(felt) == 5
    assert felt[-1] == felt[-2] == felt[-3] == pytest.approx(FORCE_STRONGEST)
    assert force_pattern(float("nan")) == ()


def test_a_force_is_felt_without_a_gap_and_only_while_engaged():
    heard = hear(HandWords(), 100, force=0.6)
    ends = [now + pattern[0][1] for now, pattern in heard]
    assert all(later <= end for (later, _), end in zip(heard[1:], ends, strict=False))
    assert len(heard) == 10
    assert not hear(HandWords(), 100, force=0.6, clutch=ClutchState.BLOCKED)
    assert not hear(HandWords(), 100, force=0.0)


def test_a_force_fills_the_pauses_of_the_edge_and_no_word_is_cut_short():
    heard = hear(HandWords(), 100, force=1.0, beyond=0.05)
    edges = [now for now, pattern in heard if pattern == edge_pattern(0.05)]
    assert len(edges) == 4, "as often as without a force"
    assert len(heard) > 8
    for begin in edges:
        assert not [now for now, _ in heard if begin < now < begin + 0.095]
    words = HandWords()
    words.step(WELL, 0.0)
    blow = replace(WELL, force=1.0, kept=1)
    assert words.step(blow, 0.01) == PATTERNS[Word.KEPT]
    assert not any(words.step(blow, 0.01 * tick) for tick in range(2, 25))
    assert words.step(blow, 0.3) == force_pattern(1.0)


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
