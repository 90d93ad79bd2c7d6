"""The unmodified SDK talks to the emulated controller."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from ate_core.errors import DeviceError
from ate_core.loop import FixedRateLoop
from realman_driver.emulator.control import EmulatorControl

sdk = pytest.importorskip("Robotic_Arm.rm_robot_interface")

_CALLBACKS: list[object] = []


def wait_for(condition: Callable[[], bool], seconds: float = 3.0) -> bool:
    """Poll until true or until the deadline; the result says which."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture(scope="session")
def sdk_events() -> list[bool]:
    """The process-wide thread mode, and what its one event callback reported."""
    reported: list[bool] = []
    callback = sdk.rm_event_callback_ptr(lambda event: reported.append(event.trajectory_state))
    arm = sdk.RoboticArm(sdk.rm_thread_mode_e.RM_TRIPLE_MODE_E)
    arm.rm_get_arm_event_call_back(callback)
    # The SDK calls it until the process ends: it must never be collected.
    _CALLBACKS.append(callback)
    return reported


@pytest.fixture
def arm(controller, sdk_events: list[bool]) -> Iterator[object]:
    """A connected SDK object."""
    sdk_events.clear()
    arm = sdk.RoboticArm()
    handle = arm.rm_create_robot_arm(controller.config.ip, controller.config.tcp_port, 4)
    assert handle.id != -1
    yield arm
    assert arm.rm_delete_robot_arm() == 0


def test_sdk_recognises_a_seven_joint_arm_with_force_sensor(arm) -> None:
    code, info = arm.rm_get_robot_info()
    assert code == 0
    assert (info["arm_dof"], info["arm_model"], info["force_type"]) == (7, "RM_75", "6F")


def test_state_agrees_with_the_sdk_own_kinematics(arm) -> None:
    code, state = arm.rm_get_current_arm_state()
    assert code == 0
    assert state["err"]["err"] == ["0"]
    pose = arm.rm_algo_forward_kinematics(state["joint"], 1)
    assert np.allclose(state["pose"][:3], pose[:3], atol=2e-5)
    assert np.allclose(np.cos(state["pose"][3:]), np.cos(pose[3:]), atol=2e-3)


def test_planned_move_arrives_and_reports_it(arm, sdk_events: list[bool]) -> None:
    goal = [5.0, -15.0, 3.0, 110.0, 0.0, 80.0, 0.0]
    assert arm.rm_movej(goal, 100, 0, 0, 0) == 0
    assert wait_for(lambda: sdk_events == [True])
    # The event marks the end of the plan; the joints lag behind it.
    assert wait_for(lambda: np.allclose(arm.rm_get_joint_degree()[1], goal, atol=2e-3))


def test_replaced_move_is_reported_as_not_arrived(arm, sdk_events: list[bool]) -> None:
    assert arm.rm_movej([60.0, -15.0, 3.0, 110.0, 0.0, 80.0, 0.0], 20, 0, 0, 0) == 0
    assert arm.rm_movej([2.0, -20.0, 0.0, 112.0, 0.0, 84.0, 0.0], 100, 0, 0, 0) == 0
    assert wait_for(lambda: sdk_events == [False, True])


def test_target_outside_the_limits_is_refused(arm, controller) -> None:
    assert arm.rm_movej([0.0, 0.0, 0.0, 140.0, 0.0, 0.0, 0.0], 20, 0, 0, 0) == 1
    assert controller.control.status()["errors"] == [0x1002]
    assert arm.rm_get_current_arm_state()[1]["err"]["err"] == [str(0x1002)]
    assert arm.rm_clear_system_err() == 0
    assert controller.control.status()["errors"] == []


def test_streamed_targets_are_followed_without_steps(arm, controller) -> None:
    start = np.array(arm.rm_get_joint_degree()[1])
    before = controller.control.status()["frames"]
    for tick, _ in zip(range(100), FixedRateLoop(100.0, threading.Event()), strict=False):
        offset = 3.0 * (1 - np.cos(tick / 100 * np.pi))
        assert arm.rm_movej_canfd((start + offset).tolist(), True) == 0
    goal = start + 3.0 * (1 - np.cos(0.99 * np.pi))
    assert wait_for(lambda: np.allclose(arm.rm_get_joint_degree()[1], goal, atol=0.01))
    assert controller.control.status()["frames"] - before == 100
    trace = controller.control.trace()
    assert np.abs(np.diff(trace[:, 1:8], axis=0)).max() < np.radians(1.0)


def test_slow_stop_is_a_controlled_stop(arm, controller) -> None:
    assert arm.rm_movej([60.0, -15.0, 3.0, 110.0, 0.0, 80.0, 0.0], 50, 0, 0, 0) == 0
    assert wait_for(lambda: abs(arm.rm_get_joint_degree()[1][0]) > 1.0)
    assert arm.rm_set_arm_slow_stop() == 0
    status = controller.control.status()
    assert status["controlled_stops"] == 1
    assert status["status"] == "slow_stop"
    trace = controller.control.trace()
    assert np.abs(np.diff(trace[:, 1:8], axis=0)).max() < np.radians(2.0)


def test_jump_in_the_stream_makes_the_joint_fail_and_clears(arm, controller) -> None:
    start = np.array(arm.rm_get_joint_degree()[1])
    goal = start + np.array([0, 0, 15.0, 0, 0, 0, 0])
    arm.rm_movej_canfd(goal.tolist(), True)
    control: EmulatorControl = controller.control
    assert wait_for(lambda: control.status()["joint_errors"][2] == 0x4000)
    assert np.allclose(arm.rm_get_joint_degree()[1], start, atol=1e-3)
    assert arm.rm_set_joint_clear_err(3) == 0
    assert control.status()["joint_errors"] == [0] * 7


def test_unknown_command_gets_no_answer(arm) -> None:
    assert arm.rm_get_tool_voltage()[0] == -2


def test_faults_that_make_no_sense_are_refused(controller) -> None:
    for name, arguments in [
        ("dance", {}),
        ("joint_error", {"joint": "x"}),
        ("stall", {"seconds": []}),
    ]:
        with pytest.raises(DeviceError, match="refused 'fault'"):
            controller.control.fault(name, **arguments)
    assert controller.control.status()["up"]
