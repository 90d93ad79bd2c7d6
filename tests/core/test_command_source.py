"""Commands of two publishers of one name are told apart, or refused."""

import numpy as np

from ate_core.nodes.command_source import (
    CONTESTED_FOR,
    MOST_FRAMES,
    CommandSources,
    commander_of,
    unique_commander,
)

PERIOD = 0.011


class Publisher:
    """Numbers its messages as the middleware does."""

    def __init__(self, frame: str, first: int = 1) -> None:
        self.frame, self.next = frame, first

    def send(self, sources: CommandSources, now: float, skipped: int = 0):
        number = self.next + skipped
        self.next = number + 1
        info = {"publication_sequence_number": number, "source_timestamp": int(now * 1e9)}
        return sources.identify(self.frame, info, now)


def watch(*gids: str) -> CommandSources:
    return CommandSources(lambda: gids)


def interleave(first: Publisher, second: Publisher, ticks: int, begin: float = 10.0):
    """Senders that each was taken for, and when."""
    sources, told = watch("a", "b"), ([], [])
    for tick in range(ticks):
        now = begin + tick * PERIOD
        told[0].append(first.send(sources, now))
        told[1].append(second.send(sources, now + 0.4 * PERIOD))
    return told


def names(told) -> set[str]:
    return {sender.source for sender in told}


def test_one_publisher_is_one_source_also_when_messages_are_lost() -> None:
    sources, teleop = watch("a"), Publisher("teleop#1234abcd")
    rng = np.random.default_rng(3)
    told = [teleop.send(sources, 5.0 + k * PERIOD, rng.integers(0, 3)) for k in range(300)]
    assert len(names(told)) == 1
    assert {sender.commander for sender in told} == {"teleop"}
    assert not any(sender.refusal for sender in told)


def test_a_publisher_that_hears_nothing_for_a_while_is_still_the_same() -> None:
    sources, teleop = watch("a"), Publisher("teleop")
    before = teleop.send(sources, 5.0)
    after = teleop.send(sources, 5.4, skipped=35)
    assert before.source == after.source


def test_commanders_with_a_token_of_their_own_are_two_sources() -> None:
    frames = unique_commander("teleop"), unique_commander("teleop")
    first, second = interleave(Publisher(frames[0]), Publisher(frames[1]), 50)
    assert len(names(first)) == len(names(second)) == 1
    assert not names(first) & names(second)


def test_a_second_launch_under_the_same_name_is_another_source_from_its_first_message() -> None:
    first, second = interleave(Publisher("teleop", 4000), Publisher("teleop", 1), 200)
    assert len(names(first)) == len(names(second)) == 1
    assert not names(first) & names(second)
    assert not any(sender.refusal for sender in first + second)


def test_messages_that_fit_two_publishers_are_refused_and_never_taken_for_either() -> None:
    for ahead in (0, 1, 2, 3):
        first, second = interleave(Publisher("teleop", 500), Publisher("teleop", 500 + ahead), 200)
        settled = first[3:] + second[3:]
        assert all(sender.refusal for sender in settled), ahead
        assert "cannot be told apart" in settled[0].refusal
        assert names(settled) == {""}


def test_no_mixture_of_two_publishers_gives_both_one_source() -> None:
    """Whatever their numbers and losses: once both were heard, no source stands for both."""
    rng = np.random.default_rng(7)
    for _ in range(60):
        offset = int(rng.integers(-400, 400))
        pair = (Publisher("teleop", 1000), Publisher("teleop", 1000 + offset))
        sources, told = watch("a", "b"), ([], [])
        now = 10.0
        for _ in range(300):
            now += PERIOD * float(rng.uniform(0.3, 0.7))
            who = int(rng.integers(2))
            told[who].append(pair[who].send(sources, now, int(rng.random() < 0.05)).source)
        settled = [set(each[20:]) - {""} for each in told]
        assert not settled[0] & settled[1], offset


def test_what_is_left_alone_after_a_contest_is_taken_again() -> None:
    sources, first, second = watch("a", "b"), Publisher("x", 9), Publisher("x", 9)
    now = 3.0
    for _ in range(20):
        now += PERIOD
        first.send(sources, now)
        second.send(sources, now + 0.001)
    told = []
    while now < 3.0 + 3.0 * CONTESTED_FOR:
        now += PERIOD
        told.append(first.send(sources, now))
    assert told[0].refusal
    assert not told[-1].refusal
    assert told[-1].source


def test_a_publisher_that_left_the_graph_ends_its_source() -> None:
    gids = ["idle", "mine"]
    sources = CommandSources(lambda: gids[1:])
    policy = Publisher("policy#00000000")
    source = policy.send(sources, 1.0).source
    assert sources.departed(1.5) == []
    gids.remove("mine")
    assert sources.departed(2.0) == [source]
    assert commander_of(source) == "policy"
    assert sources.departed(2.5) == []


def test_a_flood_of_names_is_forgotten() -> None:
    sources = watch("a")
    for number in range(5 * MOST_FRAMES):
        Publisher(f"name {number}").send(sources, 1.0)
    assert len(sources._frames) <= MOST_FRAMES
    assert "bound" in Publisher("x" * 500).send(sources, 1.0).refusal


def test_a_stream_that_was_there_before_its_listener_is_told() -> None:
    sources, old = watch("a"), Publisher("policy", first=300)
    first, second = (old.send(sources, 5.0 + step * PERIOD) for step in range(2))
    assert first.joined and not second.joined
    assert first.mark(7).joined and (second.mark(7).number, second.mark(7).made_ns) == (301, 7)


def test_who_was_silent_before_he_was_heard_is_no_stream_that_went_on() -> None:
    sources, policy = watch("a"), Publisher("policy", first=300)
    for step in range(6):
        sources.departed(5.0 + 0.25 * step)  # the listener looks at the graph
    assert not policy.send(sources, 6.3).joined


def test_who_begins_while_he_is_listened_to_is_no_stream_that_went_on() -> None:
    assert not Publisher("teleop").send(watch("a"), 5.0).joined
    gids: list[str] = []
    sources = CommandSources(lambda: gids)
    for step in range(20):
        sources.departed(0.25 * step)
    gids.append("a")  # it sends at once, and its first messages reach nobody
    assert not Publisher("script", first=25).send(sources, 5.0).joined


def test_a_stream_that_left_the_graph_and_comes_back_is_told() -> None:
    gids = ["a"]
    sources, teleop = CommandSources(lambda: gids), Publisher("teleop")
    assert not teleop.send(sources, 0.0).joined
    for step in range(200):
        sources.departed(1.0 + 0.25 * step)
        gids[:] = [] if step < 190 else ["a"]
    assert teleop.send(sources, 48.7, skipped=4000).joined
