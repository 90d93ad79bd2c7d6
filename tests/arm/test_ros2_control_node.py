"""Driver node and emulated controllers of a six-joint arm on DDS."""

import dataclasses
import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest

from ate_core.contract import load_cell

pytestmark = pytest.mark.ros
ARM = load_cell("six_axis", "sim").arms["left"]
HOME = np.array(ARM.home)
ASIDE = HOME + 0.2 * np.eye(len(HOME))[0]
"""Turned at the base, away from the other arm and no nearer to the table."""


@pytest.fixture
def processes(runtime_dir, start_module) -> dict[str, "subprocess.Popen[str]"]:
    """The controllers and the driver of the left arm."""
    parameters = (
        "cell:=six_axis",
        "hardware:=sim",
        "arm:=left",
        "other_arm:=absent",
        "estop_node:=absent",
    )
    return {
        "controllers": start_module(
            *("ros2_control_driver.emulator", "--side", "left"),
            *("--cell", "six_axis", "--plant", "ideal"),
        ),
        "driver": start_module(
            *("ros2_control_driver.nodes.driver_node", "--ros-args"),
            *(word for parameter in parameters for word in ("-p", parameter)),
        ),
    }


def positions(peer) -> np.ndarray:
    return np.array([state.position for state in peer.states])


def test_a_six_joint_arm_stays_moves_stops_and_outlives_its_controllers(processes, peer) -> None:
    assert peer.reaches("connected", 20.0)
    assert peer.spin_until(lambda: len(peer.states) > 5)
    np.testing.assert_allclose(positions(peer)[-1], HOME, atol=1e-6)

    peer.states.clear()
    peer.drive(ARM.joint_names, lambda t: HOME, 1.0)
    assert peer.statuses[-1]["state"] == "tracking"
    assert len(peer.states) > 60
    assert np.abs(positions(peer) - HOME).max() < 1e-9  # told to stay, it stays

    peer.drive(ARM.joint_names, lambda t: ASIDE, 1.0)
    np.testing.assert_allclose(positions(peer)[-1], ASIDE, atol=5e-3)
    assert peer.call("/left/arm/stop") == (True, "")
    assert peer.reaches("stopped")
    assert peer.call("/left/arm/enable") == (True, "")
    assert peer.reaches("connected")

    processes["controllers"].terminate()
    assert peer.reaches("disconnected")
    reason = peer.statuses[-1]["reason"]
    assert "no joint states" in reason or "nobody listens" in reason
    assert peer.call("/left/arm/clear_errors")[0] is False

    processes["driver"].terminate()
    assert processes["driver"].wait(10.0) == 0
    assert processes["controllers"].wait(10.0) == 0


def test_an_unknown_option_of_an_arm_is_one_line_of_error(tmp_path, runtime_dir) -> None:
    from ate_core.contract import cell_file

    file = tmp_path / "cell.yaml"
    file.write_text(cell_file("six_axis").read_text().replace("state_topic", "states"))
    result = subprocess.run(
        [sys.executable, "-m", "ros2_control_driver.emulator", "--side", "left", "--cell", file],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 1
    assert (
        "unknown key 'states'; known keys of the driver ros2_control: command_topic"
        in result.stderr
    )
    assert "Traceback" not in result.stderr


def test_a_silent_sensor_has_no_wrench_message_while_its_joints_are_published() -> None:
    pytest.importorskip("rclpy")
    from arm_driver.interface import ArmSample
    from arm_driver.nodes.arm_reports import ArmReports
    from ate_core.arm_model import tool_chain

    zero = np.zeros(6)
    sample = ArmSample(
        sequence=1,
        received=0.0,
        stamp_ns=1,
        position=HOME,
        velocity=zero,
        effort=zero,
        wrench=None,
    )
    node = Mock(_chain=tool_chain(ARM), _transform_base_to_world=np.eye(4), _arm=ARM, _side="left")
    ArmReports.publish_sample(node, sample)
    assert node._states.publish.call_count == node._poses.publish.call_count == 1
    assert not node._wrenches.publish.called
    ArmReports.publish_sample(node, dataclasses.replace(sample, wrench=zero))
    assert node._wrenches.publish.call_count == 1


def test_the_controller_manager_is_asked_for_the_state_of_the_controller(monkeypatch) -> None:
    pytest.importorskip("rclpy")
    from ros2_control_driver.client import Options
    from ros2_control_driver.nodes import driver_node

    options = Options(
        command_topic="/left/fpc/commands", state_topic="/s", controller_manager="/manager"
    )
    states: list[str] = []
    node = Mock()
    driver_node.watch_controller(node, options, states.append)
    assert "controller_manager_msgs is not installed" in node.get_logger().warning.call_args[0][0]

    monkeypatch.setitem(sys.modules, "controller_manager_msgs.srv", Mock())
    driver_node.watch_controller(node, options, states.append)
    assert node.create_client.call_args[0][1] == "/manager/list_controllers"
    client, ask = node.create_client.return_value, node.create_timer.call_args[0][1]
    ask()
    take_answer = client.call_async.return_value.add_done_callback.call_args[0][0]
    items = [Mock(state="inactive"), Mock(state="active")]
    items[0].name, items[1].name = "fpc", "joint_state_broadcaster"
    done = {"cancelled": lambda: False, "exception": lambda: None}
    take_answer(Mock(result=lambda: Mock(controller=items), **done))
    take_answer(Mock(result=lambda: Mock(controller=items[1:]), **done))
    take_answer(Mock(cancelled=lambda: False, exception=lambda: RuntimeError("it left")))
    client.service_is_ready.return_value = False
    ask()
    assert states == ["inactive", "not loaded", "", ""]


@pytest.mark.parametrize("rate", [50.0, 100.0])
def test_emulated_controllers_give_two_states_for_each_that_is_promised(
    rate, monkeypatch, runtime_dir
) -> None:
    rclpy = pytest.importorskip("rclpy")
    from arm_driver.plant import IdealPlant
    from ros2_control_driver.nodes import controllers_node

    rates: list[float] = []

    def loop(rate: float, stop: object) -> list[int]:
        rates.append(rate)
        return []

    monkeypatch.setattr(controllers_node, "FixedRateLoop", loop)
    cell = load_cell("six_axis", "sim")
    cell = dataclasses.replace(cell, rates=dataclasses.replace(cell.rates, arm_state=rate))
    rclpy.init()
    try:
        node = controllers_node.ControllersNode(cell, "left", IdealPlant(HOME))
        node.halt()
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
    assert rates == [2.0 * rate]
