"""Who may command: one publisher, and nobody who went on sending while nothing moved."""

import pytest

from ate_core.lease import LEASE_SILENCE, REMEMBERED, Commander, Lease, Mark

TELEOP, TWIN = Commander("teleop", "a"), Commander("teleop", "b")
PERIOD = 0.05


class Sender:
    """One publisher that numbers its messages, as ROS does."""

    def __init__(self, lease: Lease, who: Commander = TELEOP, number: int = 0) -> None:
        self.lease, self.who, self.number = lease, who, number

    def send(self, now: float, **mark: object) -> str:
        """Send a command that is heard; why it is refused."""
        self.number += 1
        self.lease.hear(self.who, now, Mark(number=self.number, **mark))
        refusal = self.lease.refusal(self.who, now, now)
        if not refusal:
            self.lease.take(self.who, now, now)
        return refusal

    def stream(self, begin: float, seconds: float) -> list[str]:
        """Send 20 commands per second."""
        return [self.send(begin + step * PERIOD) for step in range(round(seconds / PERIOD))]


@pytest.fixture
def lease() -> Lease:
    return Lease()


@pytest.fixture
def teleop(lease: Lease) -> Sender:
    return Sender(lease)


def test_who_went_on_through_a_stop_must_be_silent_for_half_a_second(lease, teleop) -> None:
    assert not any(teleop.stream(0.0, 1.0))
    lease.mute("a stop")
    assert all("kept sending through a stop" in why for why in teleop.stream(1.0, 30.0))
    assert "silent for 500 ms first" in teleop.send(31.0 + 0.9 * LEASE_SILENCE)
    assert teleop.send(31.5 + 2.0 * LEASE_SILENCE) == ""


def test_a_hiccup_of_a_fifth_of_a_second_is_no_silence(lease, teleop) -> None:
    teleop.stream(0.0, 1.0)
    lease.mute("a stop")
    assert all(teleop.send(1.0 + 0.2 * step) for step in range(50))


def test_messages_that_are_refused_elsewhere_are_no_silence(lease, teleop) -> None:
    teleop.stream(0.0, 1.0)
    lease.mute("a stop")
    for step in range(20):
        teleop.number += 1
        lease.hear(TELEOP, 1.0 + PERIOD * step, Mark(number=teleop.number))
    assert "kept sending" in teleop.send(2.0)


def test_messages_of_nobody_known_count_for_all_of_their_name(lease, teleop) -> None:
    teleop.stream(0.0, 1.0)
    lease.mute("a stop")
    for step in range(40):
        lease.hear_unknown("teleop", 1.0 + PERIOD * step)
    assert "kept sending" in teleop.send(3.0)
    lease.hear_unknown("policy", 3.3)
    assert teleop.send(3.6) == ""


@pytest.mark.parametrize("muted", [False, True], ids=["free", "after a stop"])
def test_a_stream_that_was_not_heard_for_a_while_was_not_silent(lease, teleop, muted) -> None:
    teleop.stream(0.0, 1.0)
    if muted:
        lease.mute("a stop")
    teleop.number += 60  # of which none arrived
    assert "kept sending through a loss of its messages" in teleop.send(4.0)
    assert all(teleop.stream(4.05, 1.0))
    assert teleop.send(6.0) == ""


@pytest.mark.parametrize("stopped", [False, True], ids=["free", "after a stop"])
def test_after_a_loss_who_agrees_with_the_device_goes_on_unless_it_was_stopped(
    lease, teleop, stopped
) -> None:
    teleop.stream(0.0, 1.0)
    if stopped:
        lease.mute("a stop")
    teleop.number += 60
    assert teleop.send(4.0) != ""
    assert (lease.refusal(TELEOP, 4.0, 4.0, agrees=True) == "") is not stopped


def test_a_message_lost_at_the_begin_of_a_stroke_costs_nothing(lease, teleop) -> None:
    teleop.stream(0.0, 1.0)
    teleop.number += 2
    assert teleop.send(4.0) == ""


def test_short_losses_of_messages_cost_nothing(lease, teleop) -> None:
    for step in range(100):
        teleop.number += 8
        assert teleop.send(0.4 * step) == ""


def test_a_stream_that_was_there_before_its_listener_must_fall_silent(lease) -> None:
    old = Sender(lease, number=500)
    assert "kept sending through the time before" in old.send(0.0, joined=True)
    assert all(old.stream(PERIOD, 1.0))
    assert old.send(2.0) == ""


def test_who_asks_for_what_the_device_does_anyway_may_go_on_where_nobody_stopped_it() -> None:
    lease = Lease("gripper")
    lease.hear(TELEOP, 0.0)
    lease.mute("a new link", may_agree=True)
    lease.hear(TELEOP, 0.1)
    assert lease.refusal(TELEOP, 0.1, 0.1) != ""
    assert lease.refusal(TELEOP, 0.1, 0.1, agrees=True) == ""
    for first, second in ((True, False), (False, True)):
        lease.mute("x", may_agree=first)
        lease.mute("y", may_agree=second)
        lease.hear(TELEOP, 0.2)
        assert lease.refusal(TELEOP, 0.2, 0.2, agrees=True) != ""


def test_a_repetition_is_told_by_its_stamp_as_it_was_sent(lease) -> None:
    for now, made_ns, refused in ((0.0, 7, False), (0.1, 7, True), (0.2, 3, False)):
        lease.hear(TELEOP, now, Mark(made_ns=made_ns))
        assert ("repeats" in lease.repetition(TELEOP)) == refused


def test_thousands_of_names_are_forgotten_again(lease) -> None:
    for number in range(3000):
        lease.hear(Commander("x", str(number)), 0.01 * number)
    assert len(lease._known) <= REMEMBERED + LEASE_SILENCE / 0.01 + 1
    lease.hear(TWIN, 100.0)
    assert len(lease._known) == 1
