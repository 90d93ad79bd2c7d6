"""Arrivals of evenly sent messages, with and without a queue on the way."""

import numpy as np
import pytest

from operator_devices.hand_pose import HandTracker
from operator_devices.link_delay import LinkDelay
from tests.devices.test_recentring import Person

PERIOD = 1.0 / 90.36


def delays(lateness, seconds=30.0, kept=1.0, seed=0, speed=0.0, noise=0.0):
    """Estimate after each message that comes `lateness(sent)` after it was sent [s].

    The hand goes to and fro with a speed [m/s] and noise [m].
    """
    random, link, results = np.random.default_rng(seed), LinkDelay(), []
    arrived = 0.0
    for sent in np.arange(0.0, seconds, PERIOD):
        if random.random() > kept:
            continue
        arrived = max(arrived, sent + lateness(sent, random))
        place = random.normal(0.0, noise, 3) + np.array([speed, 0.0, 0.0]) * np.sin(sent)
        results.append((sent, link.update(arrived, place.tolist())))
    return np.array(results)


@pytest.mark.parametrize("grow", [0.05, 0.1, 0.3, 1.0, 2.5])
def test_a_delay_that_grows_is_told_before_it_is_half_a_second(grow):
    result = delays(lambda sent, _: grow * max(0.0, sent - 3.0) + 0.02, seconds=20.0)
    told = result[result[:, 1] > 0.25]
    assert grow * (told[0, 0] - 3.0) < 0.5 + 0.5 * grow  # half a second is measured at once
    assert told[-1, 1] == pytest.approx(grow * 17.0, abs=0.6 + 0.6 * grow)


@pytest.mark.parametrize(
    ("lateness", "kept"),
    [
        (lambda sent, random: random.normal(0.02, 1e-3), 1.0),
        (lambda sent, random: random.exponential(5e-3), 1.0),
        (lambda sent, random: 0.01, 0.8),
        (lambda sent, random: 0.06 if sent % 1.0 < 0.05 else 0.01, 1.0),  # stalls and bursts
        (lambda sent, random: 0.08 - sent % 0.08 if sent % 0.5 < 0.08 else 0.0, 0.95),
        (lambda sent, random: 1e-3 * sent, 1.0),  # another clock
    ],
    ids=["jitter", "worse jitter", "left out", "bursts", "bursts and left out", "clock"],
)
def test_an_uneven_link_is_not_taken_for_a_late_one(lateness, kept):
    assert delays(lateness, 120.0, kept)[:, 1].max() < 0.1


@pytest.mark.parametrize(("jump", "every"), [(0.24, 3.0), (0.1, 2.0), (0.06, 1.0), (0.06, 3.0)])
def test_a_delay_that_jumps_again_and_again_is_told_where_the_hand_moves(jump, every):
    result = delays(
        lambda sent, _: jump * (sent // every), 1.5 + 0.75 / jump * every, speed=0.3, noise=2e-4
    )
    told = result[result[:, 1] > 0.25]
    assert jump * (told[0, 0] // every) < 0.65, "a hand that turns back tells nothing"


@pytest.mark.parametrize(
    ("step", "every"), [(2.0, 1.0), (2.3, 0.5), (2.3, 0.3), (2.0, 0.2), (1.0, 0.15)]
)
@pytest.mark.parametrize("rate", [90.0, 139.0])
@pytest.mark.parametrize("noise", [0.0, 5e-5])
def test_a_delay_that_grows_in_small_steps_is_told_where_the_hand_moves(step, every, rate, noise):
    random, link, last = np.random.default_rng(1), LinkDelay(), 0.0
    for sent in np.arange(0.0, 80.0, 1.0 / rate):
        late = step / rate * max(0.0, (sent - 3.0) // every)
        last = max(sent + late + abs(random.normal(0.0, 5e-4)), last + 1e-4)
        place = np.array([0.25 * np.sin(1.2 * sent), 0.3, 1.0]) + random.normal(0.0, noise, 3)
        if link.update(last, place.tolist()) > 0.25:
            break
    assert late < 0.65, "a hand that turns back tells nothing"


@pytest.mark.parametrize(("kept", "jitter"), [(0.98, 1e-3), (0.98, 5e-3), (0.9, 2e-3)])
@pytest.mark.parametrize("seed", range(3))
def test_single_messages_left_out_of_the_way_of_a_person_are_no_delay(kept, jitter, seed):
    random, person, link = np.random.default_rng(seed), Person(seed), LinkDelay()
    largest = last = 0.0
    for sent in np.arange(0.0, 60.0, PERIOD):
        if random.random() < kept:
            last = max(sent + random.exponential(jitter), last + 1e-4)
            place = person.poses(sent)[0][:3, 3]
            largest = max(largest, link.update(last, place.tolist()))
    assert largest < 0.125


@pytest.mark.parametrize("speed", [0.0, 0.02, 0.15, 0.3])
def test_messages_that_are_missing_now_and_then_are_no_delay_whatever_the_hand_does(speed):
    random, link, largest = np.random.default_rng(2), LinkDelay(), 0.0
    for sent in np.arange(0.0, 60.0, PERIOD):
        if sent % 1.0 < 0.12:
            continue
        place = np.array([speed * np.sin(2.0 * sent), 0.0, 0.0]) + random.normal(0.0, 7e-4, 3)
        largest = max(largest, link.update(sent + random.exponential(1e-3), place.tolist()))
    assert largest < 0.25


def test_a_queue_that_empties_is_a_delay_no_longer():
    def lateness(sent, _):
        return float(np.interp(sent, [3.0, 6.0, 7.0, 8.0], [0.0, 0.6, 0.6, 0.0]))

    result = delays(lateness)
    assert result[:, 1].max() == pytest.approx(0.6, abs=0.1)
    assert result[-1, 1] < 0.1


def test_a_headset_that_slows_down_for_good_is_believed_in_its_next_session():
    tracker, wrist, now = HandTracker(), np.eye(4), 0.0
    for rate in (90.0, 60.0):
        tracker.begin_session()
        for _ in range(int(5 * rate)):
            now += 1.0 / rate
            wrist[0, 3] += 1e-4
            sample = tracker.update(wrist.copy(), np.eye(4), int(now * 1e9))
        assert sample.delay == 0.0


def test_slips_of_a_sender_do_not_add_up():
    link, now, largest = LinkDelay(), 0.0, 0.0
    for message in range(90 * 300):
        slips = message % 180 < 8  # 8 intervals of one and a half every 2 s: 44 ms that stay
        now += (1.5 if slips else 1.0) / 90.0
        largest = max(largest, link.update(now))
    assert largest < 0.25
