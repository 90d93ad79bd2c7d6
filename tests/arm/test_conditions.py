"""What keeps an arm from moving, and what it takes until it moves again: hand guiding, false
states, the emergency stop, deactivation, a device whose set point is its own."""

import threading

import numpy as np
import pytest

from ate_core.contract import load_cell


def silence(bench, ticks: int = 60):
    """Let a commander fall silent, as it must before an arm follows it again."""
    return bench.run(ticks)


# --- obstacles -----------------------------------------------------------------------------


@pytest.mark.parametrize("obstacle", ["hand guiding", "joint 3 is disabled"])
def test_an_obstacle_is_named_refuses_commands_and_needs_enable(bench, obstacle) -> None:
    bench.run(10, target=bench.backend.q)
    bench.backend.changes = {"obstacle": obstacle, "mode": "drag", "enabled": (True, False)}
    status = bench.run(3)
    assert (status.state, status.reason, status.mode) == ("not_ready", obstacle, "drag")
    assert status.enabled == (True, False)
    bench.backend.sent.clear()
    assert obstacle in bench.command(bench.backend.q).reason
    assert bench.run(10, target=bench.backend.q).state == "not_ready"
    assert obstacle in bench.driver.enable() and obstacle in bench.driver.home(bench.now)
    bench.backend.changes = {}
    status = bench.run(30, target=bench.backend.q)
    assert status.state == "stopped" and status.reason == f"there was {obstacle}; call arm/enable"
    assert not bench.backend.sent
    assert bench.driver.enable() == ""
    silence(bench)
    assert bench.run(5, target=bench.backend.q).state == "tracking"


@pytest.mark.parametrize("streaming", [True, False])
def test_a_joint_that_falls_out_of_a_motion_lets_the_device_brake_the_others(
    bench, streaming
) -> None:
    bench.run(10, target=bench.backend.q + 0.2)
    if not streaming:
        bench.run(200)
    bench.backend.changes = {"obstacle": "joint 3 disabled", "enabled": (True, False)}
    bench.run(3)
    assert bench.stopped(1) if streaming else not bench.backend.stops


def test_after_hand_guiding_the_arm_starts_from_where_it_was_led(bench) -> None:
    bench.run(10, target=bench.backend.q)
    bench.backend.changes = {"obstacle": "hand guiding"}
    for _ in range(40):
        bench.backend.q = bench.backend.q + 0.003
        bench.run()
    bench.backend.changes = {}
    bench.run(2)
    led = bench.backend.q.copy()
    assert bench.driver.enable() == ""
    silence(bench)
    bench.backend.sent.clear()
    bench.run(5, target=led)
    np.testing.assert_allclose(bench.backend.sent, np.tile(led, (len(bench.backend.sent), 1)))


def test_an_obstacle_before_the_arm_was_ever_ready_needs_no_enable(bench) -> None:
    bench.backend.changes = {"obstacle": "nobody listens"}
    assert bench.run(3).state == "not_ready"
    bench.backend.changes = {}
    assert bench.run(2).state == "connected"


def test_an_obstacle_while_the_driver_is_inactive_needs_no_enable(bench) -> None:
    bench.run(3)
    bench.driver.set_active(False)
    bench.backend.changes = {"obstacle": "hand guiding"}
    bench.run(3)
    bench.backend.changes = {}
    bench.run(3)
    bench.driver.set_active(True)
    assert bench.run(2).state == "connected"


# --- states that cannot be true ------------------------------------------------------------


def bad_position(bench) -> dict:
    return {"position": np.full_like(bench.backend.q, np.radians(99999.999))}


FALSE = {
    "absurd angles": (bad_position, "position of left_"),
    "a wrench that is no number": (lambda bench: {"wrench": np.full(6, np.nan)}, "wrench[0] is"),
    "what the back end doubts": (lambda bench: {"doubt": "joint_current is frozen"}, "frozen"),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_false_state_is_named_not_published_and_the_arm_holds(bench, name) -> None:
    make, words = FALSE[name]
    bench.wave(30)
    bench.backend.changes = make(bench)
    published, sent = [], []
    target = bench.backend.q + 0.2
    for _ in range(60):
        status = bench.run(1, target=target)
        published.append(bench.tick.sample)
        sent.append(bench.tick.target)
    assert published == [None] * 60
    assert status.state == "no_feedback" and words in status.reason and words in status.doubt
    assert sent[-1] is None
    bench.backend.changes = {}
    status = bench.run(2)
    assert status.doubt == "" and bench.tick.sample is not None
    assert status.state in ("connected", "holding")


def test_one_false_state_among_good_ones_neither_passes_nor_stops_the_arm(bench) -> None:
    bench.run(20, target=bench.backend.q)
    bench.backend.changes = bad_position(bench)
    assert bench.run(1, target=bench.backend.q).state == "tracking"
    assert bench.tick.sample is None
    bench.backend.changes = {}
    assert bench.run(3, target=bench.backend.q).state == "tracking"


@pytest.mark.parametrize("release", ["enable", "clear_errors"])
def test_an_arm_whose_encoder_jumped_holds_until_somebody_looked(bench, release) -> None:
    bench.wave(20)
    bench.run(20)
    jumped = bench.backend.q.copy()
    jumped[3] -= 1.0
    bench.backend.changes = {"position": jumped}
    bench.run(40, target=bench.backend.q)  # it brakes
    bench.backend.sent.clear()
    status = bench.run(200, target=bench.backend.q + 0.2)
    assert status.state == "no_feedback" and "jumps 1.000 rad" in status.doubt
    assert not bench.backend.sent
    bench.backend.q, bench.backend.changes = jumped, {}
    bench.beside(getattr(bench.driver, release))
    bench.backend.sent.clear()
    assert "kept sending" in [bench.run(20, target=jumped), bench.command(jumped)][1].reason
    assert not bench.backend.sent
    silence(bench)
    assert bench.run(3, target=jumped).state == "tracking"
    np.testing.assert_allclose(bench.backend.sent[0], jumped)


def test_a_fault_in_a_false_state_still_counts(bench) -> None:
    bench.run(2)
    bench.backend.changes = bad_position(bench) | {"fault": "encoder"}
    assert bench.run(2).state == "fault"


BAD = {
    "one joint twice": lambda bench: {
        "names": [*bench.arm.joint_names, bench.arm.joint_names[0]],
        "position": [*bench.backend.q, 0.0],
    },
    "other joints": lambda bench: {"names": ["x"], "position": [0.0]},
    "what the node refused": lambda bench: {"refusal": "its stamp"},
    "no number": lambda bench: {"position": [np.nan] * len(bench.arm.joint_names)},
}


@pytest.mark.parametrize("name", BAD)
def test_who_sends_what_is_refused_is_not_silent(bench, name) -> None:
    def send(**changes) -> str:
        given = {"names": bench.arm.joint_names, "position": bench.backend.q, **changes}
        return bench.driver.command(
            given["names"], list(given["position"]), "teleop", bench.now, bench.now, "a",
            refusal=given.get("refusal", ""),
        ).reason  # fmt: skip

    bench.run(3)
    assert send() == ""
    bench.driver.set_active(False)
    bench.run(20)
    bench.driver.set_active(True)
    for _ in range(100):
        bench.run()
        assert send(**BAD[name](bench)) != ""
    assert "kept sending through a stop" in send()
    silence(bench)
    assert send() == ""


@pytest.mark.parametrize("changes", [{"doubt": "joint_current is frozen"}, {}], ids=str)
def test_after_a_long_loss_of_feedback_the_arm_waits_for_a_new_beginning(bench, changes) -> None:
    bench.run(20, target=bench.backend.q)
    bench.backend.changes, bench.backend.silent = changes, not changes
    target = bench.backend.q + 0.2
    assert bench.run(200, target=target).state == "no_feedback"
    bench.backend.changes, bench.backend.silent = {}, False
    bench.backend.sent.clear()
    bench.run(100, target=target)
    assert not bench.backend.sent
    assert "kept sending through a loss of the measured" in bench.command(target).reason
    silence(bench)
    assert bench.run(3, target=target).state == "tracking"


# --- emergency stop ------------------------------------------------------------------------


def test_an_emergency_stop_is_fast_and_after_its_reset_nothing_moves_by_itself(bench) -> None:
    bench.wave(20)
    target = bench.backend.q + 0.2
    assert bench.driver.estop("button of the left operator")
    assert bench.backend.stops == [True]
    bench.backend.sent.clear()
    status = bench.run(30, target=target)
    assert status.state == "stopped"
    assert status.reason == "emergency stop: button of the left operator"
    assert status.estop == "button of the left operator"
    assert "reset it first" in bench.driver.enable()
    bench.driver.estop_reset()
    bench.run(2)
    assert not bench.backend.sent and bench.tick.status.estop == ""


def test_after_an_emergency_stop_a_new_stream_moves_the_arm_from_where_it_stands(bench) -> None:
    bench.wave(20)
    bench.driver.estop("button")
    bench.backend.q = bench.backend.q + 0.05  # it slid on
    bench.run(30)
    bench.driver.estop_reset()
    silence(bench)
    bench.backend.sent.clear()
    here = bench.backend.q.copy()
    assert bench.run(5, target=here).state == "tracking"
    np.testing.assert_allclose(bench.backend.sent[0], here)


def test_an_arm_that_slid_on_in_an_emergency_stop_starts_from_where_it_is(bench) -> None:
    bench.run(10, target=bench.backend.q)
    bench.driver.estop("button")
    bench.backend.q = bench.backend.q + 0.05
    bench.run(20)
    bench.driver.estop_reset()
    silence(bench)
    bench.backend.sent.clear()
    here = bench.backend.q.copy()
    bench.run(3, target=here)
    np.testing.assert_allclose(bench.backend.sent[0], here, atol=1e-6)


def test_an_enable_that_was_asked_for_before_a_stop_does_not_end_it(bench) -> None:
    asked = bench.driver.stops_so_far
    bench.beside(lambda: bench.driver.stop("by hand"))
    assert "enable anew" in bench.driver.enable(asked)
    assert bench.run().state == "stopped"
    assert bench.driver.enable(bench.driver.stops_so_far) == ""
    assert bench.run().state != "stopped"


def test_a_braking_target_that_another_stop_voids_is_not_the_answer_to_a_stop(bench) -> None:
    bench.run(30, target=bench.backend.q + 0.3)
    with bench.driver._gate:
        number = bench.driver._latch("service", "by hand")
    step = bench.driver._filter.step

    def overtaken(now, measured):
        with bench.driver._gate:
            bench.driver._give_up_set_point()
        return step(now, measured)

    bench.driver._filter.step = overtaken
    bench.run()
    assert bench.driver._taken < number


def test_an_emergency_stop_outlasts_every_other_release(bench) -> None:
    bench.run(10, target=bench.backend.q)
    bench.driver.estop("button")
    bench.backend.sent.clear()
    bench.beside(lambda: bench.driver.stop("by hand"))
    bench.driver.set_active(False)
    bench.driver.set_active(True)
    assert bench.driver.enable() == "emergency stop: button: reset it first"
    assert bench.clear() == ""
    silence(bench)
    status = bench.run(20, target=bench.backend.q + 0.1)
    assert (status.state, status.estop) == ("stopped", "button")
    assert not bench.backend.sent


def test_an_emergency_stop_leaves_a_stop_by_hand_in_force(bench) -> None:
    bench.run(2)
    bench.beside(lambda: bench.driver.stop("by hand"))
    bench.driver.estop("button")
    bench.driver.estop_reset()
    assert bench.run(2).reason == "by hand"


# --- activation ----------------------------------------------------------------------------


def test_an_inactive_driver_publishes_refuses_brakes_and_is_at_rest(bench) -> None:
    bench.wave(20)
    bench.driver.set_active(False)
    status = bench.run(60, target=bench.backend.q)
    assert (status.state, status.active) == ("not_ready", False)
    assert bench.tick.sample is not None and bench.driver.at_rest
    assert "inactive" in bench.command(bench.backend.q).reason
    assert "inactive" in bench.driver.home(bench.now)
    bench.driver.set_active(True)
    bench.run(1)
    silence(bench)
    assert bench.run(3, target=bench.backend.q).state == "tracking"


def test_what_keeps_an_arm_from_being_activated_is_named(bench) -> None:
    assert "no state" in bench.driver.link_problem()
    bench.run(1)
    assert bench.driver.link_problem() == ""
    bench.backend.changes = bad_position(bench)
    bench.run(15)
    assert "position of left_" in bench.driver.link_problem()
    bench.backend.link_error = "cut"
    assert bench.driver.link_problem() == "cut"


# --- a set point of the device's own -------------------------------------------------------


def test_after_a_stop_of_the_device_nothing_is_sent_before_its_set_point_settled(bench) -> None:
    bench.run(10, target=bench.backend.q)
    bench.backend.settled, bench.backend.settles_after = 0, 20
    bench.driver.estop("button")
    bench.run(30)
    assert bench.backend.settled == 0  # not while it is stopped
    bench.driver.estop_reset()
    bench.backend.sent.clear()
    status = bench.run(10, target=bench.backend.q)
    assert status.state == "not_ready" and "glides" in status.reason
    assert not bench.backend.sent
    bench.run(12)
    assert bench.backend.settled == 20
    silence(bench)
    assert bench.run(3, target=bench.backend.q).state == "tracking"


def test_a_new_link_starts_from_the_measured_joints(bench) -> None:
    bench.run(10, target=bench.backend.q)
    bench.backend.session += 1
    bench.backend.q = bench.backend.q + 0.1  # moved while nobody looked
    silence(bench)
    bench.backend.sent.clear()
    here = bench.backend.q.copy()
    bench.run(3, target=here)
    np.testing.assert_allclose(bench.backend.sent[0], here)


def test_a_new_link_does_not_use_a_state_of_the_old_one(bench) -> None:
    bench.run(5, target=bench.backend.q)
    bench.backend.session += 1
    bench.backend.silent, bench.backend.last = True, None
    assert bench.run(1).state == "no_feedback"
    assert "no fresh measured joints" in bench.command(bench.backend.q).reason


def test_a_state_that_ages_makes_the_arm_hold_in_time(bench) -> None:
    bench.run(20, target=bench.backend.q)
    bench.backend.silent = True
    timeout = load_cell().safety.feedback_timeout
    before = [bench.run(1, target=bench.backend.q).state for _ in range(round(timeout / 0.01))]
    after = [bench.run(1, target=bench.backend.q).state for _ in range(20)]
    assert set(before) == {"tracking"}
    assert set(after[1:]) == {"no_feedback"}
    assert "no fresh measured joints" in bench.command(bench.backend.q).reason
    bench.backend.sent.clear()
    bench.run(20, target=bench.backend.q)
    assert not bench.backend.sent


@pytest.fixture
def gliding(bench):
    """A driver whose device lets its set point glide by itself after an emergency stop."""
    bench.run(10, target=bench.backend.q)
    bench.backend.settled, bench.backend.settles_after = 0, 10_000
    bench.driver.estop("button")
    bench.driver.estop_reset()
    assert "glides" in bench.run(5).reason
    bench.backend.stops.clear()
    bench.backend.sent.clear()
    return bench


STOPS = {
    "arm/stop": (lambda driver: driver.stop("by hand"), "stopped"),
    "deactivation": (lambda driver: driver.set_active(False), "not_ready"),
    "emergency stop": (lambda driver: driver.estop("button"), "stopped"),
}


@pytest.mark.parametrize("name", STOPS)
def test_a_stop_during_the_glide_of_a_device_is_the_devices_own(gliding, name) -> None:
    act, state = STOPS[name]
    settled = gliding.backend.settled
    gliding.beside(lambda: act(gliding.driver))
    assert gliding.run(3).state == state
    assert gliding.stopped(1)
    gliding.run(10)
    assert gliding.driver.at_rest
    assert gliding.backend.settled <= settled + 1 and not gliding.backend.sent


def test_an_obstacle_during_the_glide_of_a_device_stops_it(gliding) -> None:
    gliding.backend.changes = {"obstacle": "motion from the pendant"}
    assert gliding.run(3).state == "not_ready"
    assert gliding.stopped(1)


def test_a_stop_that_the_gliding_device_does_not_confirm_is_not_acknowledged(gliding) -> None:
    gliding.backend.unconfirmed = 10_000
    assert not gliding.beside(lambda: gliding.driver.stop("by hand"))
    assert not gliding.driver.at_rest
    gliding.backend.unconfirmed = 0
    gliding.run(25)  # it is asked again
    assert gliding.beside(lambda: gliding.driver.stop("by hand"))


def test_a_confirmation_of_before_says_nothing_about_a_device_that_moves_again(gliding) -> None:
    gliding.backend.may["stop"] = threading.Event()
    gliding.driver.set_active(False)
    gliding.run(5)
    assert not gliding.driver.at_rest
    gliding.backend.may["stop"].set()
    assert gliding.stopped(1)
    gliding.beside(lambda: gliding.driver.stop("by hand"))
    assert gliding.driver.at_rest


def test_a_stop_while_somebody_else_moves_the_arm_is_the_devices_own(bench) -> None:
    bench.run(10, target=bench.backend.q)
    bench.backend.changes = {"obstacle": "motion from the pendant"}
    bench.run(3)
    bench.backend.stops.clear()
    assert bench.beside(lambda: bench.driver.stop("by hand"))
    assert bench.backend.stops == [False]


def test_an_arm_that_never_moved_is_not_told_to_stop(bench) -> None:
    bench.driver.set_active(False)
    bench.run(5)
    assert bench.driver.at_rest and not bench.backend.stops


# --- stops between two ticks ---------------------------------------------------------------

PASSING = {
    "deactivation": lambda driver: [driver.set_active(active) for active in (False, True)],
    "emergency stop": lambda driver: (driver.estop("button"), driver.estop_reset()),
    "one cause after another": lambda driver: (
        driver.set_active(False),
        driver.estop("button"),
        driver.set_active(True),
        driver.estop_reset(),
    ),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_stop_that_came_and_went_between_two_ticks_is_a_stop(bench, name) -> None:
    bench.wave(20)
    target = bench.backend.q + 0.2
    PASSING[name](bench.driver)
    assert "kept sending" in [bench.run(1, target=target), bench.command(target)][1].reason
    bench.run(20, target=target)  # it brakes
    here = bench.backend.q.copy()
    bench.run(60, target=target)
    np.testing.assert_array_equal(bench.backend.q, here)


@pytest.mark.parametrize("name", PASSING)
def test_a_stop_that_came_and_went_between_two_ticks_ends_the_way_home(bench, name) -> None:
    bench.backend.q = bench.backend.q + 0.2
    bench.run()
    assert bench.driver.home(bench.now) == ""
    bench.run(30)
    PASSING[name](bench.driver)
    assert "homing" not in [bench.run().state for _ in range(20)]
