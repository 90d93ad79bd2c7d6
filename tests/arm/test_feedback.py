"""What the driver knows of its arm comes from good, new states of the present link."""

import pytest

from arm_driver.feedback import Feedback
from ate_core.contract import load_cell


class Clock:
    now = 10.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def rig(fake_backend):
    """A back end without an arm, what reads it, and the clock of both."""
    arm, clock = load_cell().arms["left"], Clock()
    backend = fake_backend(arm, clock)
    feedback = Feedback(backend, arm, timeout=0.1)
    feedback.read(False, None, None)
    clock.now += 0.01
    return backend, feedback, clock


def test_a_state_is_reported_once_and_known_until_it_is_too_old(rig) -> None:
    backend, feedback, clock = rig
    sample = feedback.read(False, None, None).sample
    assert sample is not None and feedback.read(False, None, None).sample is None
    backend.silent = True
    assert feedback.fresh(clock.now + 0.1) == feedback.current(clock.now + 0.1) == sample
    assert feedback.fresh(clock.now + 0.11) is None and feedback.current(clock.now + 0.11) is None
    assert feedback.problem == "stale"


def test_a_doubted_state_is_current_but_not_fresh(rig) -> None:
    backend, feedback, clock = rig
    good = feedback.read(False, None, None).sample
    clock.now += 0.01
    backend.changes = {"doubt": "joint 3 is missing"}
    assert feedback.read(False, None, None).sample is None
    assert feedback.current(clock.now).sequence == good.sequence + 1
    assert feedback.fresh(clock.now) == good
    assert feedback.problem == "joint 3 is missing"


@pytest.mark.parametrize("lost", [True, False], ids=["the link was lost", "the link stayed"])
def test_a_new_session_forgets_the_states_and_is_strange_after_a_loss_only(rig, lost) -> None:
    backend, feedback, clock = rig
    feedback.read(False, None, None)
    backend.silent = True
    if lost:
        backend.link_error = "closed"
        assert feedback.read(False, None, None) == (None, False, False)
        assert feedback.fresh(clock.now) is None and feedback.problem == "closed"
    backend.link_error, backend.session, backend.last = "", 2, None
    assert feedback.read(False, None, None) == (None, True, lost)
    assert feedback.newest is None and feedback.fresh(clock.now) is None


def test_forgetting_a_doubt_is_strange_and_forgetting_none_is_nothing(rig) -> None:
    backend, feedback, clock = rig
    assert feedback.read(True, None, None)[1:] == (False, False)
    clock.now += 0.01
    backend.changes = {"doubt": "joint 3 is missing"}
    feedback.read(False, None, None)
    clock.now += 0.01
    backend.changes = {}
    reading = feedback.read(True, None, None)
    assert reading[1:] == (True, True) and reading.sample is not None and not feedback.doubt
