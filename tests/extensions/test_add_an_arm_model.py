"""An arm of another package, as docs/adding_an_arm.md shows it: its model, then its driver."""

import importlib
import json
import socket
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from arm_driver.driver import ArmDriver
from ate_bringup.processes import device_nodes
from ate_core.arm_model import load_arm_model, tool_chain
from ate_core.contract import Cell, cell_file, load_cell, parse_cell_text
from ate_core.drivers import ARM_DRIVERS
from ate_core.errors import ContractError
from ate_core.safety import JointCommand, SafetyFilter
from ate_sim.env import CellEnv
from ate_teleop.ik import ArmIK, arm_ik_config

PAGE = "adding_an_arm.md"


@pytest.fixture
def my_cell(tmp_path: Path, code_of: Callable[..., list[str]]) -> Callable[..., Cell]:
    """Write model and cell of the page into a folder; load the cell with changes of its arms."""
    model, arms = code_of(PAGE, "yaml")
    (tmp_path / "desk_arm.yaml").write_text(model)
    (tmp_path / "desk_arm.urdf").write_text(code_of(PAGE, "xml")[0])

    def load(**changes: Any) -> Cell:
        values = yaml.safe_load(cell_file("six_axis").read_text())
        left = yaml.safe_load(arms)["arms"]["left"] | changes
        right = yaml.safe_load(yaml.safe_dump(left).replace("left", "right"))
        right["base_pose"] = values["arms"]["right"]["base_pose"]
        values["arms"] = {"left": left, "right": right}
        file = tmp_path / "my_cell.yaml"
        file.write_text(yaml.safe_dump(values, sort_keys=False))
        return load_cell(file, "sim")

    return load


def test_a_model_from_another_folder_gives_joints_limits_and_home(my_cell) -> None:
    cell = my_cell()
    arm = cell.arms["right"]
    assert arm.joint_names[:3] == ("right_waist", "right_shoulder", "right_elbow")
    assert arm.home == (0.0, -0.3, 2.2, 0.0, 1.24, 0.0)
    assert arm.bounds(0.02)[0][:3] == pytest.approx((-3.08, -2.18, 0.1))
    assert parse_cell_text(cell.canonical_text()) == cell
    assert len(tool_chain(arm).joints) == 6


def test_its_safety_filter_keeps_its_guard(my_cell) -> None:
    cell = my_cell()
    arm = cell.arms["left"]
    q, elbow = np.array(arm.home), arm.joint_names.index("left_elbow")
    q[elbow] = 0.3
    safety, goal, now = SafetyFilter(cell.safety, arm), q.copy(), 1.0
    goal[elbow] = 0.05
    safety.step(now, q)
    for _ in range(100):
        now += 0.01
        command = JointCommand(commander="test", position=goal, stamp=now)
        assert safety.submit(command, now).accepted
        q = safety.step(now, q).target
    assert q[elbow] == pytest.approx(0.1, abs=1e-6)


def test_its_inverse_kinematics_follow_a_tool(my_cell) -> None:
    cell = my_cell()
    arm = cell.arms["left"]
    ik = ArmIK(arm_ik_config(arm, cell.safety))
    ik.seed(arm.home)
    target = tool_chain(arm).fk(arm.home)
    np.testing.assert_allclose(ik.tool_pose(arm.home), target, atol=1e-9)
    for _ in range(90):
        target[0, 3] += 0.001
        answer = ik.step(target, 1 / 90)
    assert answer.solved and answer.position_error < 1e-3 and answer.rotation_error < 1e-2


def test_it_stands_in_the_simulated_world(my_cell) -> None:
    env = CellEnv("pick_place", my_cell())
    stay = env.observe().state
    for _ in range(20):
        observation = env.step(stay)
    arms = env.cell.layout.state.columns("rad")
    assert np.abs(observation.state - stay)[list(arms)].max() < 5e-3
    assert env.refusals == 0
    env.close()


def test_a_model_of_other_joints_than_the_vectors_is_refused_at_load(my_cell) -> None:
    with pytest.raises(ContractError, match=r"left_arm 6 numbers.*rm75_6f\) has 7 joints"):
        my_cell(model="rm75_6f")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("home: [0.0,", "home: [", "home has 5 entries, the URDF has 6 joints"),
        ("elbow: {lower", "elbo: {lower", "guards name the joint 'elbo'; the URDF has waist"),
        ("tip: tool_plate", "tip: hand", "no joint above a link 'hand'"),
        ("urdf: desk_arm", "urdf: desk", "desk.urdf of an arm model cannot be read"),
        ("servo_gain: [4000,", "servo_gain: [", "servo_gain has 5 entries"),
        ("guards:", "guard:", "unknown key 'guard'"),
        ("guards:", "payload: 5000\nguards:", "payload is 5000.0 kg.*5000 g are 5 kg"),
        ("home: [0.0, -0.3,", "home: [0.0, -17.0,", r"home\[1\] is -17.0 rad.*Is it in deg"),
        ("armature: [0.1,", "armature: [0.0,", r"armature\[0\] is 0.0 kg m2; need 0.0001"),
        ("radius: [0.045,", "radius: [45.0,", r"45 mm are 0.045 m"),
        ("link_mass: [2.0,", "link_mass: [2000.0,", r"2000 g are 2 kg"),
        ("  elbow: {lower: 0.1}", "  elbow: {lower: 0.1, lower: 0.2}", "key 'lower' of line"),
        ("home: [0.0, -0.3, 2.2,", "home: [0.0, -0.3, 0.05,", "home angle 0.05 rad of left_elbow"),
    ],
)
def test_a_wrong_model_is_refused_with_what_is_wrong(my_cell, tmp_path, old, new, words) -> None:
    file = tmp_path / "desk_arm.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    load_arm_model.cache_clear()
    with pytest.raises(ContractError, match=words):
        my_cell()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("velocity", "0", "has the velocity 0.0 rad/s; need > 0"),
        ("effort", "0", "has the effort 0.0 N m; need > 0 to simulate it"),
        ("velocity", "180", "velocity is 180.0 rad/s.*180 deg/s are 3.142 rad/s"),
        ("lower", "-130", "limit lower is -130.0 rad.*-130 deg are -2.269 rad"),
        ("effort", "-80", "limit effort is -80.0 N m; need 0 to 2000"),
        ("lower", "9", "has the limits 9.0 to .* rad; need lower < upper"),
        ("name", "elbow", "'elbow' of the URDF is there twice"),
    ],
)
def test_a_joint_that_cannot_move_is_refused(my_cell, tmp_path, key, value, words) -> None:
    file = tmp_path / "desk_arm.urdf"
    robot = ET.fromstring(file.read_text())
    joint = robot.find("joint[@name='shoulder']")
    element = joint if key == "name" else joint.find("limit")
    element.set(key, value)
    file.write_bytes(ET.tostring(robot))
    load_arm_model.cache_clear()
    with pytest.raises(ContractError, match=words):
        my_cell()


@pytest.mark.parametrize("name", ["desk_arm.yaml", "desk_arm.urdf"])
def test_a_model_that_is_no_text_is_refused(my_cell, tmp_path, name) -> None:
    (tmp_path / name).write_bytes(b"\xff\x81\x00")
    load_arm_model.cache_clear()
    with pytest.raises(ContractError, match=r"cannot be read \(it is no text"):
        my_cell()


GRIPPER = """<link name="finger"/><joint name="finger_joint" type="prismatic">
<parent link="tool_plate"/><child link="finger"/><axis xyz="0 1 0"/>
<limit lower="0" upper="0.05" velocity="1" effort="10"/></joint></robot>"""


def test_a_gripper_in_the_urdf_does_not_count_as_joints_of_the_arm(my_cell, tmp_path) -> None:
    file = tmp_path / "desk_arm.urdf"
    file.write_text(file.read_text().replace("</robot>", GRIPPER))
    load_arm_model.cache_clear()
    cell = my_cell()
    arm = cell.arms["left"]
    ik = ArmIK(arm_ik_config(arm, cell.safety))
    np.testing.assert_allclose(ik.tool_pose(arm.home), tool_chain(arm).fk(arm.home), atol=1e-9)


class DeskDevice:
    """The arm at the other end of the page's driver: it jumps to its target at once."""

    def __init__(self, q: list[float]) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.01)
        self.q, self.error, self.targets, self.stops = q, "", 0, 0
        self.running = True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        peer = None
        while self.running:
            try:
                data, peer = self.socket.recvfrom(4096)
                self.take(json.loads(data))
            except TimeoutError:
                pass
            if peer is not None:
                state = {"q": self.q, "qd": [0.0] * 6, "error": self.error}
                text = json.dumps(state | {"time_ns": time.time_ns()})
                self.socket.sendto(text.encode(), peer)

    def take(self, request: dict[str, Any]) -> None:
        if "target" in request:
            self.q = request["target"]
            self.targets += 1
        self.stops += "stop" in request
        if "clear" in request:
            self.error = ""


@pytest.fixture
def desk_arm_driver(add_package, code_of) -> None:
    """The driver of the page, installed."""
    client, node = code_of(PAGE, "python")
    folder = add_package("unused", "", "ate.arm_drivers", {"desk_arm": "desk_arm_driver"})
    package = folder / "desk_arm_driver"
    (package / "nodes").mkdir(parents=True)
    for file in (package / "__init__.py", package / "nodes" / "__init__.py"):
        file.write_text("")
    (package / "client.py").write_text(client)
    (package / "nodes" / "driver_node.py").write_text(node)


@pytest.fixture
def device(my_cell) -> Iterator[DeskDevice]:
    device = DeskDevice(list(my_cell().arms["left"].home))
    yield device
    device.running = False
    device.thread.join()
    device.socket.close()


@pytest.mark.usefixtures("desk_arm_driver")
def test_the_launches_start_the_driver_of_another_package(my_cell) -> None:
    assert ARM_DRIVERS.names()[-1] == "desk_arm"
    cell = my_cell(driver="desk_arm", options={"host": "127.0.0.1", "port": 5005})
    assert cell.arms["left"].options["port"] == "5005"
    specs = device_nodes(cell, {"cell": "", "hardware": "real", "cameras": "false"})
    modules = [spec.module for spec in specs if spec.name == "arm_driver"]
    assert modules == ["desk_arm_driver.nodes.driver_node"] * 2


@pytest.mark.ros
@pytest.mark.usefixtures("desk_arm_driver")
def test_its_node_can_be_started() -> None:
    pytest.importorskip("rclpy")
    assert callable(importlib.import_module("desk_arm_driver.nodes.driver_node").main)


@pytest.mark.usefixtures("desk_arm_driver")
def test_the_driver_of_the_page_keeps_its_arm_where_it_stands(my_cell, device) -> None:
    port = str(device.socket.getsockname()[1])
    cell = my_cell(driver="desk_arm", options={"host": "127.0.0.1", "port": port})
    arm = cell.arms["left"]
    backend = importlib.import_module("desk_arm_driver.client").DeskArm(arm)
    driver = ArmDriver(arm, cell.safety, backend)
    assert "is it switched on?" in driver.tick(time.monotonic()).status.reason
    backend.start()

    def tick_until(condition: Callable[[Any], bool], commanded: bool = True) -> Any:
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:
            now = time.monotonic()
            if commanded:
                driver.command(arm.joint_names, list(arm.home), "teleop", now, now)
            tick = driver.tick(now)
            if condition(tick.status):
                return tick.status
            time.sleep(0.002)
        raise AssertionError(f"still {tick.status}")

    tick_until(lambda status: device.targets >= 50)
    assert device.q == pytest.approx(list(arm.home))
    device.error = "hot"
    tick_until(lambda status: status.state == "fault" and status.reason == "hot")
    assert driver.clear_errors() == ""
    assert driver.enable() == ""
    begin = time.monotonic()
    idle = "connected"  # a commander must fall silent before the arm follows it again
    tick_until(lambda status: status.state == idle and time.monotonic() > begin + 0.7, False)
    tick_until(lambda status: status.state == "tracking")
    backend.close()
    assert device.stops >= 1
