"""The back end of an arm behind a forward position controller, and its emulated controllers."""

import dataclasses
import itertools

import numpy as np
import pytest

from arm_driver.driver import ArmDriver
from arm_driver.plant import IdealPlant
from ate_core.contract import load_cell
from ate_core.drivers import KNOWN_OPTIONS
from ate_core.errors import ContractError, DeviceError, SafetyError
from ros2_control_driver.client import LINK_TIMEOUT, ForwardPositionArm, Options, arm_options
from ros2_control_driver.emulator.controllers import ForwardPositionController

TICK = 0.01


class Bench:
    """Driver, back end and emulated controllers of the six-joint arm, without ROS."""

    def __init__(self) -> None:
        cell = load_cell("six_axis", "sim")
        self.arm = cell.arms["left"]
        self.now = 5.0
        self.home = np.array(self.arm.home)
        self.plant = IdealPlant(self.home, clock=lambda: self.now)
        self.controller = ForwardPositionController(self.plant, len(self.arm.joint_names))
        self.listeners = 1
        self.sent: list[np.ndarray] = []
        self.backend = ForwardPositionArm(
            self.arm, self.publish, lambda: self.listeners, lambda: self.now, self.wall_ns
        )
        self.driver = ArmDriver(self.arm, cell.safety, self.backend)

    def wall_ns(self) -> int:
        return round(self.now * 1e9)

    def publish(self, q: np.ndarray) -> None:
        self.sent.append(q)
        assert self.controller.take(q.tolist()) == ""

    def broadcast(self) -> None:
        q, qd, torque, wrench = self.controller.measure()
        self.backend.take_wrench(wrench)
        self.backend.take_state(self.arm.joint_names, q, qd, torque, self.wall_ns())

    def stands(self, q: np.ndarray, stamp_ns: int = 0) -> None:
        """Take a state of an arm at rest."""
        zero = np.zeros(6)
        self.backend.take_state(self.arm.joint_names, q, zero, zero, stamp_ns)

    def run(self, ticks: int = 1, target=None, feedback: bool = True):
        for _ in range(ticks):
            self.now += TICK
            if feedback:
                self.broadcast()
            if target is not None:
                self.driver.command(self.arm.joint_names, target, "teleop", self.now, self.now)
            tick = self.driver.tick(self.now)
        return tick.status

    def measured(self) -> np.ndarray:
        return self.backend.latest().position


@pytest.fixture
def bench():
    return Bench()


def test_a_six_joint_arm_told_to_stay_where_it_stands_stays(bench) -> None:
    status = bench.run(300, target=bench.home)
    assert status.state == "tracking"
    assert len(bench.sent) >= 298
    assert np.abs(np.array(bench.sent) - bench.home).max() == 0.0
    assert np.abs(bench.measured() - bench.home).max() < 1e-12


def test_a_target_is_reached_within_the_filters_limits(bench) -> None:
    goal = bench.home + 0.3
    bench.run(100, target=goal)
    np.testing.assert_allclose(bench.measured(), goal, atol=1e-3)
    speeds = np.abs(np.diff(bench.sent, axis=0)) / TICK
    assert speeds.max() <= 2.0 + 1e-9


def test_silent_feedback_stops_the_targets_and_then_breaks_the_link(bench) -> None:
    bench.run(20, target=bench.home)
    sent = len(bench.sent)
    status = bench.run(20, target=bench.home, feedback=False)
    assert status.state == "no_feedback"
    assert len(bench.sent) <= sent + 10
    status = bench.run(round(LINK_TIMEOUT / TICK), target=bench.home, feedback=False)
    assert status.state == "disconnected"
    assert "no joint states on /left/joint_states for 1000 ms" in status.reason
    session = bench.backend.session
    assert bench.run(2).state == "connected"
    assert bench.backend.session == session + 1


def test_without_any_state_the_status_says_what_to_start(bench) -> None:
    status = bench.run(3, feedback=False)
    assert status.state == "disconnected" and "start joint_state_broadcaster" in status.reason


def test_a_controller_that_is_not_active_is_no_link(bench) -> None:
    bench.listeners = 0
    status = bench.run(5, target=bench.home)
    assert status.state == "disconnected"
    assert "activate the forward position controller" in status.reason
    assert not bench.sent and not bench.backend.stop()
    with pytest.raises(DeviceError, match="nobody listens"):
        bench.backend.clear_errors()


def test_stop_holds_a_moving_arm_at_its_last_set_point_and_refuses(bench) -> None:
    bench.run(20, target=bench.home + 0.3)
    last = bench.sent[-1]
    assert bench.driver.stop("by hand")
    np.testing.assert_array_equal(bench.sent[-1], last)
    status = bench.run(50, target=bench.home + 0.3)
    assert status.state == "stopped"
    np.testing.assert_allclose(bench.measured(), last, atol=1e-6)
    assert bench.driver.enable() == ""
    bench.run(60)  # a commander must fall silent before the arm follows it again
    assert bench.run(5, target=bench.measured()).state == "tracking"


def test_stop_holds_a_standing_arm_where_it_stands(bench) -> None:
    bench.run(20, target=bench.home + 0.1)
    blocked = bench.measured() - 0.05  # an obstacle keeps it off its set point
    bench.now += TICK
    bench.stands(blocked)
    assert bench.backend.stop()
    np.testing.assert_array_equal(bench.sent[-1], blocked)


def test_stop_does_not_throw_an_arm_back_to_a_posture_from_before_its_feedback_froze(
    bench,
) -> None:
    bench.stands(bench.home)
    bench.now += 0.3  # meanwhile it has left, and its last state still says that it stands
    bench.backend.stream(bench.home + 0.3)
    assert bench.backend.stop()
    np.testing.assert_array_equal(bench.sent[-1], bench.home + 0.3)


def test_stop_says_nothing_to_an_arm_that_neither_state_nor_set_point_places(bench) -> None:
    bench.stands(bench.home)
    bench.now += 0.3
    assert not bench.backend.stop()
    assert not bench.sent


def test_the_droop_of_the_servos_does_not_add_up_over_stops(bench) -> None:
    bench.stands(bench.home)
    bench.backend.stream(bench.home)
    for _ in range(10):
        bench.now += TICK
        bench.stands(bench.sent[-1] - 0.01)
        assert bench.backend.stop()
    np.testing.assert_array_equal(bench.sent[-1], bench.home)


def test_stops_against_an_obstacle_hold_where_the_first_found_the_arm(bench) -> None:
    bench.stands(bench.home)
    bench.backend.stream(bench.home)
    for droop in (0.05, 0.06):
        bench.now += TICK
        bench.stands(bench.home - droop)
        assert bench.backend.stop()
        np.testing.assert_array_equal(bench.sent[-1], bench.home - 0.05)


def test_a_driver_that_never_moved_the_arm_says_nothing_at_its_end(bench) -> None:
    bench.run(3)
    bench.backend.close()
    assert not bench.sent
    bench.run(3, target=bench.home)
    sent = len(bench.sent)
    bench.backend.close()
    assert len(bench.sent) == sent + 1


def test_a_wrench_is_not_given_again_after_its_sensor_fell_silent(bench) -> None:
    bench.backend.take_wrench([1.0] * 6)
    for _ in range(20):
        bench.now += TICK
        bench.stands(bench.home)
        given = bench.backend.latest().wrench
        assert (given is None) == (bench.now - 5.0 > 0.1 + 1e-9)
    bench.backend.take_wrench([2.0] * 6)
    bench.now += TICK
    bench.stands(bench.home)
    np.testing.assert_array_equal(bench.backend.latest().wrench, [2.0] * 6)


def test_a_sensor_has_no_wrench_before_its_first_and_none_that_is_not_finite(bench) -> None:
    bench.stands(bench.home)
    assert bench.backend.latest().wrench is None
    bench.backend.take_wrench([np.nan] * 6)
    bench.now += TICK
    bench.stands(bench.home)
    assert bench.backend.latest().wrench is None


def test_an_arm_without_a_sensor_has_a_wrench_of_zeros(bench) -> None:
    plain = dataclasses.replace(bench.arm, options={})
    backend = ForwardPositionArm(plain, bench.publish, lambda: 1, lambda: bench.now)
    backend.take_state(plain.joint_names, bench.home, [], [], 1)
    np.testing.assert_array_equal(backend.latest().wrench, np.zeros(6))


def test_states_of_another_hosts_clock_are_stamped_on_receipt_and_it_is_said_once(
    bench, caplog
) -> None:
    for _ in range(30):
        bench.now += TICK
        bench.stands(bench.home, bench.wall_ns() - 3_000_000_000)
        assert bench.backend.latest().stamp_ns == bench.wall_ns()
    assert [record.getMessage().count("-3.000 s off") for record in caplog.records] == [1]
    repeated = bench.wall_ns() - 3_000_000_000
    bench.now += TICK
    bench.stands(bench.home, repeated)
    assert bench.backend.latest().sequence == 30


@pytest.mark.parametrize("age", [100 * 86400.0, 11.0, -11.0])
def test_states_of_another_time_are_not_used(bench, age) -> None:
    bench.run(20, target=bench.home)
    sent = len(bench.sent)
    played = bench.home + 0.05
    for _ in range(60):
        bench.now += TICK
        bench.stands(played, bench.wall_ns() - round(age * 1e9))
        bench.driver.command(bench.arm.joint_names, bench.home, "teleop", bench.now, bench.now)
        status = bench.driver.tick(bench.now).status
    assert status.state == "no_feedback"
    assert "s from now, bound 10 s: end the bag that is played" in status.reason
    assert len(bench.sent) <= sent + 20  # it brakes, and that is all
    assert np.abs(np.array(bench.sent) - bench.home).max() < 0.01
    bench.run(40)
    assert bench.run(60, target=bench.home).state == "tracking"


@pytest.mark.parametrize("stamp", [-5 * 10**9, 1, 2**31 * 10**9, 2**31 * 10**9 + 2**32])
def test_a_stamp_that_means_nothing_is_replaced_by_the_time_of_receipt(bench, stamp) -> None:
    bench.run(30)  # on time, all of them
    bench.now += TICK
    bench.stands(bench.home, stamp)
    assert bench.backend.latest().stamp_ns == bench.wall_ns()


def test_a_late_delivery_keeps_the_stamp_of_its_state(bench, caplog) -> None:
    bench.run(5)
    made = bench.wall_ns()
    bench.now += 0.05
    bench.stands(bench.home, made + 1)
    assert bench.backend.latest().stamp_ns == made + 1
    assert not caplog.records


def test_joints_of_a_state_may_come_in_any_order_and_among_others(bench) -> None:
    names = [*reversed(bench.arm.joint_names), "right_joint1"]
    bench.backend.take_state(names, [6, 5, 4, 3, 2, 1, 9], [], [], 1)
    np.testing.assert_array_equal(bench.measured(), [1, 2, 3, 4, 5, 6])


def test_speeds_are_taken_from_the_angles_where_the_state_has_none(bench) -> None:
    names = bench.arm.joint_names
    for step, stamp in enumerate((10_000_000, 20_000_000), 1):
        bench.backend.take_state(names, [0.01 * step] * 6, [], [], stamp)
    np.testing.assert_allclose(bench.backend.latest().velocity, 1.0)


def test_a_state_without_all_joints_is_no_link_and_named(bench) -> None:
    bench.backend.take_state(("left_joint1",), [0.0], [], [], 1)
    assert "lack left_joint2" in bench.backend.link_error


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("position", "position of left_joint1 is nan"),
        ("velocity", "velocity of left_joint1 is nan"),
        ("effort", "effort of left_joint1 is nan"),
    ],
)
def test_a_field_that_is_no_number_any_more_is_named_and_the_arm_holds(
    bench, field, words
) -> None:
    bench.run(20, target=bench.home)
    for _ in range(20):
        bench.now += TICK
        values = {"position": bench.home, "velocity": np.zeros(6), "effort": np.zeros(6)}
        values[field] = np.full(6, np.nan)
        bench.backend.take_state(bench.arm.joint_names, *values.values(), bench.wall_ns())
        tick = bench.driver.tick(bench.now)
        assert tick.sample is None
    assert tick.status.state == "no_feedback" and words in tick.status.reason
    before = len(bench.sent)
    assert bench.backend.stop()
    assert len(bench.sent) == before + 1 and np.all(np.isfinite(bench.sent[-1]))


def test_what_the_hardware_never_gives_is_no_false_state(bench) -> None:
    nothing = np.full(6, np.nan)
    for step in range(20):
        bench.now += TICK
        q = bench.home + 0.01 * step
        bench.backend.take_state(bench.arm.joint_names, q, nothing, nothing, bench.wall_ns())
        assert bench.driver.tick(bench.now).sample is not None
    np.testing.assert_allclose(bench.backend.latest().velocity, 1.0)
    np.testing.assert_array_equal(bench.backend.latest().effort, np.zeros(6))


def test_states_out_of_order_are_not_used(bench) -> None:
    bench.run(5)
    bench.now += TICK
    bench.stands(bench.home, bench.wall_ns() - 25_000_000)
    tick = bench.driver.tick(bench.now)
    assert tick.sample is None and "goes back by 15.0 ms" in tick.status.doubt
    assert bench.backend.health()["states out of order"] == "1"
    assert bench.run(1).doubt == ""


def test_a_controller_that_is_not_active_is_named_and_needs_enable(bench) -> None:
    bench.backend.take_controller_state("active")
    assert bench.run(20, target=bench.home).state == "tracking"
    bench.backend.take_controller_state("inactive")
    status = bench.run(5, target=bench.home)
    assert status.state == "not_ready" and status.mode == "inactive"
    assert "forward_position_controller is inactive: activate it" in status.reason
    bench.backend.take_controller_state("active")
    assert bench.run(5).state == "stopped"
    assert bench.driver.enable() == ""
    bench.run(60)
    assert bench.run(5, target=bench.home).state == "tracking"


def test_an_arm_that_somebody_else_moves_is_named_and_needs_enable(bench) -> None:
    bench.run(10, target=bench.home)
    bench.run(100)
    speed = np.full(6, 0.5)
    for step in range(40):
        bench.now += TICK
        q = bench.home + 0.005 * step
        bench.backend.take_state(bench.arm.joint_names, q, speed, np.zeros(6), bench.wall_ns())
        status = bench.driver.tick(bench.now).status
    assert (
        status.state == "not_ready" and "somebody else moves the arm: left_joint" in status.reason
    )
    for _ in range(5):
        bench.now += TICK
        bench.stands(q, bench.wall_ns())
        status = bench.driver.tick(bench.now).status
    assert status.state == "stopped" and "call arm/enable" in status.reason


@pytest.mark.parametrize("speed", [0.02, 0.045, 0.5])
@pytest.mark.parametrize("droop", [-0.015, 0.0, 0.015])
def test_an_arm_that_somebody_else_moved_starts_where_it_stands(bench, speed, droop) -> None:
    bench.run(10, target=bench.home)
    bench.run(100)
    sent = len(bench.sent)
    q, velocity = bench.home + droop * np.eye(6)[1], speed * np.eye(6)[1]
    for step in range(60 + round(0.3 / speed / TICK)):
        bench.now += TICK
        moves = step >= 60
        q = q + TICK * velocity * moves
        told = velocity * moves, np.zeros(6), bench.wall_ns()
        bench.backend.take_state(bench.arm.joint_names, q, *told)
        bench.driver.tick(bench.now)
    assert len(bench.sent) == sent  # whoever moved it is not disturbed
    for _ in range(100):
        bench.now += TICK
        bench.stands(q, bench.wall_ns())
        bench.driver.tick(bench.now)
    assert bench.driver.enable() == ""  # needed where it was fast
    for step in range(100):
        bench.now += TICK
        bench.stands(q, bench.wall_ns())
        if step > 60:
            bench.driver.command(bench.arm.joint_names, q, "teleop", bench.now, bench.now)
        status = bench.driver.tick(bench.now).status
    assert status.state == "tracking"
    assert np.abs(np.array(bench.sent[sent:]) - q).max() < 0.02 + 1e-9


def test_a_servo_that_droops_ever_more_does_not_sink_the_set_point(bench) -> None:
    bench.run(10, target=bench.home)
    bench.run(100)
    for step in range(3000):
        bench.now += TICK
        bench.stands(bench.home - 0.014 * min(step / 2000, 1.0), bench.wall_ns())
        bench.driver.tick(bench.now)
    assert bench.driver.stop("test")
    np.testing.assert_allclose(bench.sent[-1], bench.home, atol=1e-9)


def test_an_arm_that_springs_to_its_set_point_moves_by_itself(bench) -> None:
    bench.run(10, target=bench.home)
    last = bench.sent[-1]
    for step in range(100):
        bench.now += TICK
        q = last - 0.2 + (0.005 * max(0, step - 60))
        qd = np.full(6, 0.5 if step > 60 else 0.0)
        bench.backend.take_state(bench.arm.joint_names, q, qd, np.zeros(6), bench.wall_ns())
        assert bench.backend.latest().obstacle == ""


def test_after_a_stop_the_set_point_glides_to_an_arm_that_was_pressed(bench) -> None:
    bench.run(5)
    pressed = bench.measured()
    bench.backend.stream(pressed + 0.3)
    calls = 0
    while not bench.backend.settle(pressed):
        bench.now += TICK
        calls += 1
    assert 100 < calls < 200
    np.testing.assert_allclose(bench.sent[-1], pressed, atol=1e-6)
    assert np.abs(np.diff(bench.sent, axis=0)).max() <= 0.2 * 0.02 + 1e-9


def test_a_listener_that_comes_back_is_a_new_link(bench) -> None:
    bench.run(5)
    session = bench.backend.session
    bench.listeners = 0
    assert bench.run(3).state == "disconnected"
    bench.listeners = 1
    bench.run(3)
    assert bench.backend.session == session + 1


URDF = """<robot name="arm">{joints}</robot>"""
JOINT = """<joint name="{name}" type="{kind}">
<limit lower="{low}" upper="{high}" velocity="{speed}" effort="9"/></joint>"""


def urdf(arm, *, kind="revolute", low=-7.0, high=7.0, speed=9.0, names=None) -> str:
    joints = [
        JOINT.format(name=name, kind=kind, low=low, high=high, speed=speed)
        for name in names or arm.joint_names
    ]
    return URDF.format(joints="".join(joints))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"kind": "continuous", "low": 0, "high": 0}, ""),
        ({"high": 0.5}, "ends left_joint1 at 0.500 rad, the model"),
        ({"speed": 0.5}, "allows left_joint1 0.50 rad/s, the model"),
        ({"names": ["left_joint1"]}, "lacks left_joint2"),
        ({"low": "nan"}, "limits that are nan to 7.0 rad"),
        ({"high": "much"}, "limits that are could not convert"),
    ],
)
def test_a_description_that_does_not_fit_the_model_is_a_fault_by_name(
    bench, changes, words
) -> None:
    bench.backend.take_description(urdf(bench.arm, **changes))
    status = bench.run(3, target=bench.home)
    assert words in status.reason and (status.state == "fault") == bool(words)
    if words:  # at most told to stand where it stands
        assert all(np.array_equal(q, bench.home) for q in bench.sent)


def test_a_description_that_is_no_xml_is_a_fault(bench) -> None:
    bench.backend.take_description("<robot")
    assert "not readable" in bench.run(2).reason


def test_a_repeated_stamp_is_the_same_state_and_ages(bench) -> None:
    for _ in range(3):
        bench.now += TICK
        bench.backend.take_state(bench.arm.joint_names, bench.home, [], [], 7)
    assert bench.backend.latest().sequence == 1
    assert bench.backend.latest().received == pytest.approx(5.0 + TICK)


def test_a_target_that_is_not_one_finite_number_per_joint_never_leaves(bench) -> None:
    bench.run(1)
    for target in (np.zeros(7), np.full(6, np.nan)):
        with pytest.raises(SafetyError, match="not 6 finite numbers"):
            bench.backend.stream(target)
    assert not bench.sent


def test_the_emulated_controller_drops_what_the_real_one_drops(bench) -> None:
    assert "has 7 angles" in bench.controller.take([0.0] * 7)
    assert "not finite" in bench.controller.take([np.nan] * 6)
    assert bench.controller.commands == 0


def test_topics_have_their_usual_names_and_unknown_options_are_refused(bench) -> None:
    plain = dataclasses.replace(bench.arm, options={})
    assert arm_options(plain).command_topic == "/left/forward_position_controller/commands"
    assert arm_options(plain).wrench_topic == ""
    odd = dataclasses.replace(bench.arm, options={"topic": "/x"})
    with pytest.raises(ContractError, match="unknown key 'topic'; known keys: command_topic"):
        arm_options(odd)


def test_the_options_that_a_cell_file_may_have_are_those_that_the_driver_reads() -> None:
    known = {field.name for field in dataclasses.fields(Options)}
    assert set(KNOWN_OPTIONS["ros2_control"]) == known


def test_both_arms_of_the_packaged_cell_have_topics_of_their_own() -> None:
    arms = load_cell("six_axis").arms.values()
    topics = list(itertools.chain(*(vars(arm_options(arm)).values() for arm in arms)))
    assert len(set(filter(None, topics))) == 6


def test_a_command_after_the_end_is_dropped() -> None:
    plant = IdealPlant(np.zeros(6))
    controller = ForwardPositionController(plant, joints=6)
    controller.close()
    assert controller.take([0.1] * 6) == ""
    assert controller.measure() is None
    assert controller.commands == 0
