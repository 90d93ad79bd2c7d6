"""Every rule of the safety filter, with time as an argument."""

import dataclasses

import numpy as np
import pytest

from ate_core.contract import SafetyConfig, load_cell
from ate_core.errors import SafetyError
from ate_core.motion_guard import GuardVerdict, MotionGuard
from ate_core.safety import (
    REST_TIME,
    CommandVerdict,
    FilterOutput,
    FilterState,
    JointCommand,
    SafetyFilter,
)
from ate_core.stream_wall import FASTEST_JOINT, LARGEST_STEP_DEG, LONGEST_ADVANCE

CONFIG = SafetyConfig()
ARM = load_cell().arms["left"]
UPPER = np.array(ARM.joint_upper)
SPEED = np.array(ARM.joint_speed)
START = np.array([0.0, -0.35, 0.0, 2.0, 0.0, 1.49, 0.0])
TICK = 0.01


class Cell:
    """An arm that follows its set point at once, and the clock of the test."""

    def __init__(
        self,
        start: np.ndarray = START,
        guard: MotionGuard | None = None,
        config: SafetyConfig = CONFIG,
        period: float = TICK,
    ) -> None:
        self.filter = SafetyFilter(config, ARM, guard, period)
        self.now = 100.0
        self.measured = np.array(start)
        self.trace = [self.measured.copy()]
        self.output = self.filter.step(self.now, self.measured)

    def command(
        self,
        position: np.ndarray,
        commander: str = "teleop",
        age: float = 0.0,
        source: str = "",
    ) -> CommandVerdict:
        return self.filter.submit(
            JointCommand(
                commander=commander, source=source, position=position, stamp=self.now - age
            ),
            self.now,
        )

    def step(self, ticks: int = 1, follow: bool = True) -> None:
        for _ in range(ticks):
            self.now += TICK
            self.output = self.filter.step(self.now, self.measured)
            if self.output.target is not None:
                self.trace.append(self.output.target)
                if follow:
                    self.measured = self.output.target

    def drive(self, position: np.ndarray, seconds: float, follow: bool = True) -> None:
        for _ in range(round(seconds / TICK)):
            assert self.command(position).accepted
            self.step(follow=follow)

    def lose_feedback(self) -> FilterOutput:
        self.now += TICK
        self.output = self.filter.step(self.now, None)
        if self.output.target is not None:
            self.trace.append(self.output.target)
        return self.output

    def check_motion(self) -> None:
        """Every target so far lies within speed, acceleration and jerk of those before."""
        rest = [self.trace[0]] * 3
        q = np.array(rest + self.trace)
        for order, bound in (
            (1, CONFIG.max_joint_speed),
            (2, CONFIG.max_joint_acceleration),
            (3, CONFIG.max_joint_jerk),
        ):
            assert np.abs(np.diff(q, order, axis=0)).max() / TICK**order <= bound * (1 + 1e-6)

    @property
    def speed(self) -> float:
        """Speed of the fastest joint in the last step [rad/s]."""
        return float(np.abs(self.velocities()[-1]).max())

    def velocities(self) -> np.ndarray:
        return np.diff(np.array(self.trace), axis=0) / TICK


def moved(joint: int, by: float, start: np.ndarray = START) -> np.ndarray:
    goal = np.array(start)
    goal[joint] += by
    return goal


def test_target_is_reached_within_speed_and_acceleration() -> None:
    cell = Cell()
    cell.drive(moved(0, 0.3), 0.6)
    assert np.allclose(cell.output.target, moved(0, 0.3), atol=1e-6)
    velocities = cell.velocities()
    assert np.abs(velocities).max() <= CONFIG.max_joint_speed + 1e-9
    assert np.abs(np.diff(velocities, axis=0)).max() <= CONFIG.max_joint_acceleration * TICK + 1e-9
    assert np.array(cell.trace)[:, 0].max() <= 0.3 + 1e-3


def test_stale_command_is_refused() -> None:
    cell = Cell()
    verdict = cell.command(moved(0, 0.1), age=0.15)
    assert not verdict.accepted
    assert "150 ms old, bound 100 ms" in verdict.reason


def test_command_from_the_future_is_refused() -> None:
    assert not Cell().command(moved(0, 0.1), age=-0.2).accepted


def test_repeated_stamp_is_refused_so_a_stale_target_cannot_live_on() -> None:
    cell = Cell()
    assert cell.command(moved(0, 0.1)).accepted
    stamp = cell.now
    cell.step()
    verdict = cell.filter.submit(
        JointCommand(commander="teleop", position=moved(0, 0.1), stamp=stamp), cell.now
    )
    assert not verdict.accepted
    assert "not newer" in verdict.reason


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_number_that_is_not_finite_is_refused(value: float) -> None:
    verdict = Cell().command(moved(2, value))
    assert not verdict.accepted
    assert "joint 3" in verdict.reason


def test_command_with_six_joints_is_refused() -> None:
    verdict = Cell().command(START[:6])
    assert not verdict.accepted
    assert "6 joints" in verdict.reason


def test_position_limits_clip_smooth_motion() -> None:
    start = moved(1, UPPER[1] - 0.1 - START[1])
    cell = Cell(start)
    cell.drive(moved(1, 0.3, start), 0.8)
    assert cell.trace[-1][1] == pytest.approx(UPPER[1] - CONFIG.position_margin, abs=1e-6)
    assert np.array(cell.trace)[:, 1].max() <= UPPER[1] - CONFIG.position_margin + 1e-9


def test_elbow_stays_above_its_bound() -> None:
    start = moved(3, 0.2 - START[3])
    cell = Cell(start)
    cell.drive(moved(3, -0.3, start), 0.8)
    assert cell.trace[-1][3] == pytest.approx(ARM.guards["left_joint4"].lower, abs=1e-6)


def test_arm_that_stands_outside_the_limits_comes_in_smoothly() -> None:
    start = moved(3, -START[3])  # stretched out: elbow at 0, below its bound
    cell = Cell(start)
    cell.drive(start, 0.5)
    assert cell.trace[-1][3] == pytest.approx(ARM.guards["left_joint4"].lower, abs=1e-6)
    assert np.abs(np.diff(cell.velocities(), axis=0)).max() <= 15 * TICK + 1e-9


def test_jump_is_refused_and_the_arm_holds() -> None:
    cell = Cell()
    cell.drive(START, 0.1)
    for _ in range(20):
        verdict = cell.command(moved(4, 0.5))
        assert not verdict.accepted
        cell.step()
    assert "joint 5 jumps 0.50 rad" in verdict.reason
    assert cell.output.state is FilterState.HOLDING
    assert "jumps" in cell.output.reason
    assert np.allclose(cell.output.target, START)


@pytest.mark.parametrize("rate", [20.0, 50.0, 90.0])
@pytest.mark.parametrize("jitter", [0.0, 0.003])
def test_commands_of_any_rate_become_smooth_motion(rate: float, jitter: float) -> None:
    rng = np.random.default_rng(3)
    cell = Cell()
    wave = lambda t: moved(0, 0.25 * np.sin(2 * np.pi * 0.4 * t))  # noqa: E731
    begin, made = cell.now, 0
    arrival = begin
    while cell.now < begin + 5.0:
        while arrival <= cell.now + TICK:
            stamp = begin + made / rate
            command = JointCommand(commander="policy", position=wave(stamp - begin), stamp=stamp)
            assert cell.filter.submit(command, max(arrival, cell.now)).accepted
            made += 1
            arrival = begin + made / rate + abs(rng.normal(0.0, jitter))
        cell.step()
    q = np.array(cell.trace)[100:, 0]
    acceleration = np.abs(np.diff(q, 2)) / TICK**2
    # The sinusoid's own peak is 1.6 rad/s2; held targets at 20 Hz would need hundreds.
    assert np.percentile(acceleration, 95) < 9.0
    times = begin + np.arange(len(cell.trace)) * TICK
    errors = [
        np.abs(q - 0.25 * np.sin(2 * np.pi * 0.4 * (times[100:] - begin - lag))).max()
        for lag in np.arange(0.0, 0.12, 0.002)
    ]
    assert min(errors) < 0.006
    assert np.argmin(errors) * 0.002 < 1.0 / rate + 0.03


def test_silence_makes_the_arm_brake_and_hold_within_its_timeout() -> None:
    cell = Cell()
    for tick in range(100):
        assert cell.command(moved(0, 0.01 * tick)).accepted  # 1 rad/s
        cell.step()
    silent_since = cell.now
    while cell.output.state is FilterState.TRACKING:
        cell.step()
        assert cell.now - silent_since <= CONFIG.command_timeout + 2 * TICK
    assert "no fresh command of teleop for 100 ms" in cell.output.reason
    cell.step(20)
    held = cell.trace[-1]
    cell.step(10)
    assert np.array_equal(cell.trace[-1], held)
    assert np.abs(np.diff(cell.velocities(), axis=0)).max() <= 15 * TICK + 1e-9


@pytest.mark.parametrize("rate", [20.0, 30.0, 90.0])
@pytest.mark.parametrize("speed", [0.5, 1.0, 1.6, 2.0])
def test_an_arm_is_at_rest_190_ms_after_the_last_command_at_any_rate_of_them(rate, speed) -> None:
    for phase in np.linspace(0.0, 0.009, 4):
        cell = Cell()
        begin, due = cell.now, cell.now + phase
        while cell.now < begin + 0.8:
            if cell.now >= due - 1e-9:
                ahead = np.eye(7)[0] * speed * (cell.now - begin)
                assert cell.command(START + ahead).accepted
                last, due = cell.now, due + 1.0 / rate
            cell.step()
        assert cell.speed > 0.85 * speed, "commands that come in time slow nothing"
        while cell.speed > 0.05 or cell.now < last + 0.05:
            cell.step()
        assert cell.now - last <= REST_TIME + 1e-6
        cell.check_motion()


def test_an_arm_brakes_at_once_when_its_commander_says_that_it_falls_silent() -> None:
    silent, told = Cell(), Cell()
    for cell in (silent, told):
        cell.drive(START + 0.3, 0.25)
    told.filter.hold("teleop", told.now, told.now)
    for cell in (silent, told):
        cell.step(5)
        cell.check_motion()
    assert told.output.state is FilterState.HOLDING
    assert "teleop lets it hold" in told.output.reason
    assert told.speed < silent.speed - 0.2
    assert not told.command(START, commander="policy").accepted, "the lease stays"
    told.drive(START + 0.3, 0.5)
    assert told.output.state is FilterState.TRACKING


@pytest.mark.parametrize(
    ("frame", "age", "obeyed"),
    [
        ("teleop#1", 0.0, True),
        ("teleop#2", 0.0, False),
        ("teleop", 0.0, False),
        ("", 0.0, False),
        ("teleop#1", 0.02, False),
        ("teleop#1", -30.0, True),
    ],
)
def test_only_the_newest_word_of_who_commands_an_arm_lets_it_hold(frame, age, obeyed) -> None:
    cell = Cell()
    for _ in range(20):
        assert cell.command(START + 0.2, source="teleop#1/1").accepted
        cell.step()
    cell.filter.hold(frame, cell.now - age, cell.now)
    cell.step()
    assert (cell.output.state is FilterState.HOLDING) == obeyed
    overtaken = cell.command(START + 0.2, source="teleop#1/1", age=0.015)
    assert overtaken.accepted == (not obeyed or age < 0.0)
    assert cell.command(START + 0.2, source="teleop#1/1").accepted


def test_second_commander_is_refused_while_the_first_is_alive() -> None:
    cell = Cell()
    cell.drive(moved(0, 0.05), 0.1)
    verdict = cell.command(START, commander="policy")
    assert not verdict.accepted
    assert verdict.reason == "teleop holds the arm, policy is refused"
    cell.step()
    assert cell.output.commander == "teleop"


def test_second_publisher_of_the_same_kind_is_refused_and_both_are_named() -> None:
    cell = Cell()
    for tick in range(50):
        assert cell.command(moved(0, 0.002 * tick), source="a1").accepted
        verdict = cell.command(moved(0, -0.002 * tick), source="b2")
        assert verdict.reason == "teleop (a1) holds the arm, teleop (b2) is refused"
        cell.step()
    assert (cell.output.commander, cell.output.source) == ("teleop", "a1")
    assert cell.output.reason == ""
    assert cell.velocities()[:, 0].min() >= 0.0
    cell.filter.release("teleop", "b2")
    cell.step()
    assert cell.output.state is FilterState.TRACKING
    cell.filter.release("teleop", "a1")
    assert cell.command(START, source="b2").accepted


def test_second_commander_gets_the_arm_after_the_first_fell_silent() -> None:
    cell = Cell()
    cell.drive(START, 0.1)
    cell.step(45)
    assert not cell.command(START, commander="policy").accepted
    cell.step(10)
    assert cell.output.state is FilterState.IDLE
    assert cell.command(START, commander="policy").accepted


def test_released_arm_is_free_at_once() -> None:
    cell = Cell()
    cell.drive(START, 0.1)
    cell.filter.release("teleop")
    assert cell.command(START, commander="policy").accepted


def test_missing_feedback_is_braked_and_resuming_ramps_from_the_set_point() -> None:
    cell = Cell()
    for tick in range(60):
        assert cell.command(moved(0, 0.01 * tick)).accepted  # 1 rad/s
        cell.step()
    targets = 0
    while cell.lose_feedback().target is not None:
        assert cell.output.state is FilterState.NO_FEEDBACK
        assert not cell.command(moved(0, 0.6)).accepted
        targets += 1
    assert 5 <= targets <= 16  # 0.15 s from 2 rad/s
    assert cell.output.state is FilterState.NO_FEEDBACK
    rest = cell.trace[-1]
    cell.measured = moved(0, 0.2)  # it was pushed back meanwhile
    cell.step()
    for _ in range(60):
        assert cell.command(moved(0, 0.3)).accepted
        cell.step(follow=False)
    assert np.abs(cell.trace[-1] - moved(0, 0.3)).max() < 1e-3
    assert np.abs(rest - moved(0, 0.3)).max() > 0.2
    cell.check_motion()


@pytest.mark.parametrize("seconds", [0.6, 30.0])
def test_who_kept_sending_through_a_loss_of_feedback_must_fall_silent(seconds: float) -> None:
    cell = Cell()
    cell.drive(moved(0, 0.1), 0.5)
    for _ in range(round(seconds / TICK)):
        cell.lose_feedback()
        assert "no fresh measured joints" in cell.command(moved(0, 0.2)).reason
    cell.step()
    for _ in range(100):
        reason = cell.command(moved(0, 0.2)).reason
        assert "kept sending through a loss of the measured joints" in reason
        cell.step()
    assert cell.output.target is None
    cell.step(60)
    assert cell.command(moved(0, 0.1)).accepted


def test_a_short_loss_of_feedback_is_resumed_on_a_ramp() -> None:
    cell = Cell()
    cell.drive(moved(0, 0.1), 0.5)
    for _ in range(40):
        cell.lose_feedback()
        cell.command(moved(0, 0.1))
    cell.step()
    cell.drive(moved(0, 0.2), 0.5)
    assert np.allclose(cell.output.target, moved(0, 0.2), atol=1e-6)
    cell.check_motion()


def test_stop_is_braked_then_silent_and_latched() -> None:
    cell = Cell()
    for tick in range(60):
        assert cell.command(moved(0, 0.01 * tick)).accepted
        cell.step()
    cell.filter.stop("service")
    cell.step(16)
    assert (cell.output.target, cell.output.state) == (None, FilterState.STOPPED)
    assert cell.command(moved(0, 0.6)).reason == "stopped: service"
    rest = cell.trace[-1]
    cell.filter.resume()
    cell.step(60)
    assert cell.output.target is None  # nothing to send before a command
    assert cell.command(moved(0, 0.7)).accepted
    cell.step()
    assert np.abs(cell.output.target - rest).max() < 2e-3
    cell.check_motion()


@pytest.mark.parametrize("ends_with", ["stop and resume", "reset", "stop, reset and resume"])
def test_a_commander_that_talked_through_a_stop_must_fall_silent_first(ends_with: str) -> None:
    cell = Cell()
    cell.drive(moved(0, 0.1), 0.3)
    if "stop" in ends_with:
        cell.filter.stop("service")
    if "reset" in ends_with:
        cell.filter.reset("new link")
    if "resume" in ends_with:
        cell.filter.resume()
    moved_before = len(cell.trace)
    for _ in range(100):
        verdict = cell.command(moved(0, 0.1))
        assert "kept sending through a" in verdict.reason
        assert "silent for 500 ms first" in verdict.reason
        cell.step()
    assert cell.output.state is FilterState.IDLE
    assert len(cell.trace) - moved_before <= 16  # it braked
    cell.step(60)
    assert cell.command(moved(0, 0.1)).accepted


def test_a_commander_that_began_during_a_stop_must_fall_silent_first() -> None:
    cell = Cell()
    cell.filter.stop("service")
    cell.step()
    assert cell.command(START).reason == "stopped: service"
    cell.filter.resume()
    cell.step()
    assert "kept sending through a stop" in cell.command(START).reason
    cell.step(60)
    assert cell.command(START).accepted


def test_a_hiccup_that_nobody_has_to_end_lets_the_commander_go_on() -> None:
    cell = Cell()
    cell.drive(moved(0, 0.1), 0.3)
    cell.filter.reset("", silence=False)
    assert cell.command(moved(0, 0.1)).accepted


def test_a_set_point_that_was_never_sent_is_forgotten() -> None:
    cell = Cell()
    assert cell.command(START).accepted
    assert cell.lose_feedback().target is None
    cell.measured = moved(0, 0.2)  # the controller never heard of the start
    cell.step(15)
    assert cell.command(moved(0, 0.2)).accepted
    cell.step()
    assert np.allclose(cell.output.target, moved(0, 0.2))


@pytest.mark.parametrize("measured", [np.full(7, np.nan), moved(3, np.inf), START[:6]])
def test_measured_joints_that_are_no_posture_count_as_missing(measured: np.ndarray) -> None:
    cell = Cell()
    cell.drive(START, 0.1)
    cell.measured = measured
    cell.step(follow=False)
    assert cell.output.state is FilterState.NO_FEEDBACK
    assert cell.command(START).reason == "no fresh measured joints"


@pytest.mark.parametrize("back", [3600.0, 0.3])
def test_a_clock_that_goes_back_makes_the_arm_brake_and_keeps_no_lease(back: float) -> None:
    cell = Cell()
    for tick in range(60):
        assert cell.command(moved(0, 0.01 * tick)).accepted
        cell.step()
    cell.now -= back + TICK
    cell.step()
    assert cell.output.state is FilterState.HOLDING
    assert "the clock went from" in cell.output.reason
    cell.step(20)
    assert np.array_equal(cell.trace[-1], cell.trace[-2])
    cell.check_motion()
    cell.step(45)
    assert cell.output.state is FilterState.IDLE
    assert cell.command(cell.measured, commander="policy").accepted


def test_a_guard_slows_the_arm_and_its_reason_is_told() -> None:
    class Half:
        def limit(self, q, velocity, wanted, dt, now, stopping) -> GuardVerdict:
            assert np.abs(stopping(wanted) - q).max() < 0.2
            return GuardVerdict(velocity=np.clip(wanted, -0.2, 0.2), reason="table is near")

    cell = Cell(guard=Half())
    cell.drive(moved(0, 0.3), 0.5)
    assert cell.output.state is FilterState.TRACKING
    assert cell.output.reason == "slowed: table is near"
    assert np.abs(cell.velocities()).max() <= 0.2 + 1e-9


def test_what_is_near_and_slows_nothing_is_told_of_an_arm_that_follows() -> None:
    class Watcher:
        def limit(self, q, velocity, wanted, dt, now, stopping) -> GuardVerdict:
            return GuardVerdict(
                velocity=wanted, near="left joint4 comes to 62 mm from right gripper"
            )

    cell = Cell(guard=Watcher())
    cell.drive(moved(0, 0.3), 0.5)
    assert cell.output.state is FilterState.TRACKING
    assert cell.output.reason == "near: left joint4 comes to 62 mm from right gripper"
    free = Cell()
    free.drive(moved(0, 0.3), 0.5)
    assert np.array_equal(cell.trace, free.trace)


def test_a_guard_that_answers_with_no_number_stops_the_arm() -> None:
    class Broken:
        def limit(self, q, velocity, wanted, dt, now, stopping) -> GuardVerdict:
            return GuardVerdict(velocity=np.full(7, np.nan), reason="broken")

    cell = Cell(guard=Broken())
    cell.drive(moved(0, 0.3), 0.3)
    assert np.array_equal(cell.trace[-1], START)


def test_a_flood_of_commanders_unmutes_none_of_them() -> None:
    cell = Cell()
    cell.filter.stop("service")
    for number in range(200):
        cell.command(START, source=str(number))
    cell.filter.resume()
    cell.step()
    verdicts = [cell.command(START, source=str(number)) for number in range(200)]
    assert not any(verdict.accepted for verdict in verdicts)


def test_after_a_reset_the_motion_starts_from_the_measured_joints() -> None:
    cell = Cell()
    cell.drive(moved(0, 0.2), 0.6)
    cell.filter.reset("device fault")
    cell.measured = moved(0, 0.1)
    cell.step(60)
    assert cell.output.target is None
    assert cell.command(moved(0, 0.15)).accepted
    cell.step()
    assert np.abs(cell.output.target - moved(0, 0.1)).max() < 2e-3


@pytest.mark.parametrize("pressed", [0.06, 0.2])
def test_an_arm_pressed_against_an_obstacle_resumes_without_a_step(pressed: float) -> None:
    cell = Cell()
    cell.drive(moved(0, pressed), 0.8)
    cell.measured = np.array(START)  # the obstacle keeps it there
    cell.step(20, follow=False)
    assert cell.output.state is FilterState.HOLDING
    for _ in range(60):
        assert cell.command(START).accepted
        cell.step(follow=False)
    assert np.allclose(cell.output.target, START, atol=1e-3)
    cell.check_motion()


def test_servo_droop_does_not_move_the_set_point_when_resuming() -> None:
    cell = Cell()
    cell.drive(START, 0.1)
    cell.step(20)
    cell.measured = moved(1, 0.005)
    cell.step(follow=False)
    assert cell.command(START).accepted
    cell.step(follow=False)
    assert np.allclose(cell.output.target, START, atol=1e-9)


def test_blocked_arm_does_not_wind_up() -> None:
    cell = Cell()
    for tick in range(200):
        cell.command(moved(0, min(0.005 * tick, cell.trace[-1][0] + 0.3)))
        cell.step(follow=False)
    assert np.array(cell.trace)[:, 0].max() <= CONFIG.max_step + 1e-6


def test_late_step_does_not_make_a_leap() -> None:
    cell = Cell()
    cell.drive(moved(0, 0.3), 0.15)
    before = cell.trace[-1]
    assert cell.command(moved(0, 0.3)).accepted
    cell.now += 1.0
    output = cell.filter.step(cell.now, cell.measured)
    assert output.target is not None
    assert np.abs(output.target - before).max() <= CONFIG.max_joint_speed * 0.06 + 1e-9


@pytest.mark.parametrize("late", [0.031, 0.044, 0.0599])
@pytest.mark.parametrize("speed", [CONFIG.max_joint_speed, FASTEST_JOINT])
def test_late_tick_at_full_speed_makes_no_step_that_the_wall_refuses(late, speed) -> None:
    cell = Cell(config=dataclasses.replace(CONFIG, max_joint_speed=speed, max_step=1.0))
    for tick in range(60):
        assert cell.command(START + speed * TICK * tick * np.eye(7)[0]).accepted
        cell.step()
    before = cell.trace[-1]
    assert np.abs(before - cell.trace[-2]).max() == pytest.approx(speed * TICK, rel=0.01)
    cell.now += late - TICK
    cell.step()
    step = np.abs(cell.trace[-1] - before).max()
    assert 0.9 * speed * LONGEST_ADVANCE < step <= speed * LONGEST_ADVANCE + 1e-9
    assert np.degrees(step) <= LARGEST_STEP_DEG
    for tick in range(60, 90):  # what it fell behind is caught up within the limits
        assert cell.command(START + speed * TICK * tick * np.eye(7)[0]).accepted
        cell.step()
    steps = np.abs(np.diff(cell.trace[-30:], axis=0)).max()
    assert steps <= speed * TICK + 1e-9


def test_late_tick_of_a_slow_stream_is_measured_by_its_own_period() -> None:
    cell = Cell(period=0.05)
    speed = CONFIG.max_joint_speed
    for tick in range(20):
        assert cell.command(START + speed * 0.05 * tick * np.eye(7)[0]).accepted
        cell.now += 0.04
        cell.step()
    assert cell.trace[-1][0] - cell.trace[-2][0] == pytest.approx(speed * 0.05, rel=0.01)


def test_twenty_hertz_steps_reach_each_target_one_period_later() -> None:
    cell = Cell(period=0.05)
    for tick in range(40):
        assert cell.command(moved(0, 0.01 * tick)).accepted
        cell.now += 0.05
        cell.output = cell.filter.step(cell.now, cell.measured)
        assert cell.output.target is not None
        cell.measured = cell.output.target
    assert cell.measured[0] == pytest.approx(0.39, abs=0.002)


def test_limits_that_leave_no_room_are_named() -> None:
    narrow = dataclasses.replace(
        ARM, joint_lower=(-1.0, -0.36, *ARM.joint_lower[2:]), joint_upper=(1.0, -0.34, *UPPER[2:])
    )
    with pytest.raises(SafetyError, match="left_joint2 no room"):
        SafetyFilter(CONFIG, narrow)
