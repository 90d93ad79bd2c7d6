"""The whole teleoperation path: headset, IK, SDK, controller, world, recorder, converter."""

import json
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest

from training.audit.judge import audit_episode
from training.convert_bags import ConvertConfig, convert
from training.data.bag_reader import read_episode_bag

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(240)]

TELEOP = ("ate_teleop", "dual_operator.launch.py")
RECORDING = "recording episode_000000"
LIES = {
    "stale_command", "frozen_joints", "frozen_camera", "swapped_arms", "swapped_cameras",
    "told_speed", "off_command", "uncommanded_motion", "copied_stream", "copied_command",
    "gripper_follows", "late_camera", "nothing_done",
}  # fmt: skip
"""Rules of data that lies; a busy machine makes data late and repeats states, but tells no lie."""
BUSY = 2.0
"""Longest time for which a busy machine may starve a process [s]."""


def arms_of(record):
    """Joints (2, n) of both arms, left first."""
    return np.stack([record["left_q"], record["right_q"]])


class Trace(threading.Thread):
    """Records the true joints of both arms at about 200 Hz."""

    def __init__(self, block):
        super().__init__(daemon=True)
        self._block, self._ended = block, threading.Event()
        self.times, self.seconds, self.joints = [], [], []

    def run(self):
        while not self._ended.wait(0.005):
            record = self._block.read()
            if record["time_ns"] and (not self.times or record["time_ns"] != self.times[-1]):
                self.times.append(int(record["time_ns"]))
                self.seconds.append(float(record["sim_time"]))
                self.joints.append(arms_of(record))

    def end(self):
        self._ended.set()
        self.join()
        return np.array(self.times), np.array(self.seconds), np.array(self.joints)


def speed(seconds, joints, side):
    """Largest joint speed between successive looks (n - 1,), in the world's time [rad/s]."""
    return np.abs(np.diff(joints[:, side], axis=0) / np.diff(seconds)[:, None]).max(axis=1)


def test_demonstrations_become_hdf5_episodes(launch_cell, tmp_path):
    report, bags = tmp_path / "report.jsonl", tmp_path / "bags"
    cell = launch_cell(*TELEOP, "episodes:=2", f"output:={bags}", f"report:={report}")
    assert cell.process.wait(180) == 0, cell.log()[-4000:]
    attempts = [json.loads(line) for line in report.read_text().splitlines()]
    assert [attempt["success"] for attempt in attempts] == [True, True], attempts

    for bag in sorted(bags.glob("episode_??????")):
        said = audit_episode(bag.name, read_episode_bag(bag))
        assert not LIES & set(said.failed), [str(one) for one in said.findings]

    episodes = tmp_path / "episodes"
    # How old a sample gets is the machine's matter here: a busy one starves a driver.
    ages = dict.fromkeys(("max_state_age", "max_image_age", "max_object_age"), BUSY)
    assert convert(ConvertConfig(bags=bags, output=episodes, **ages)) == 0
    files = sorted(episodes.glob("*.hdf5"))
    assert len(files) == 2
    with h5py.File(files[0]) as file:
        qpos, action = file["/observations/qpos"][:], file["/action"][:]
        assert qpos.shape == action.shape and qpos.shape[1] == 16
        assert np.ptp(action[:, :7], axis=0).max() > 0.3  # the left arm has worked
        lag = np.abs(qpos[1:, :7] - action[:-1, :7]).max(axis=1)
        assert np.median(lag) < 0.1  # the arm follows its commands
        assert action[:, 7].min() < 0.1 and action[:, 7].max() > 0.9  # the gripper closed


def test_a_killed_controller_holds_its_arm_and_comes_back_without_a_jump(launch_cell, tmp_path):
    cell = launch_cell(*TELEOP, "task:=cook_bun", "episodes:=20", f"output:={tmp_path / 'bags'}")
    world = cell.world()
    cell.wait_for(lambda: world.read()["time_ns"] > 0, "physics")
    cell.wait_for(lambda: RECORDING in cell.log(), "recording", 90)
    start = arms_of(world.read())
    cell.wait_for(
        lambda: np.abs(arms_of(world.read()) - start).max(axis=1).min() > 0.1, "both arms moving"
    )
    trace = Trace(world)
    trace.start()
    victim = cell.find("realman_driver.emulator", "left")
    connections = left_driver_log(cell).count("connected")
    killed_ns = time.monotonic_ns()
    victim.kill()
    psutil.wait_procs([victim], timeout=10)
    cell.wait_for(
        lambda: left_driver_log(cell).count("connected") > connections + 1, "a new connection"
    )
    returned_ns = time.monotonic_ns()
    cell.wait_for(lambda: time.monotonic_ns() - returned_ns > 2e9, "two more seconds")
    times, seconds, joints = trace.end()

    # It brakes in the world's time; it is commanded anew some time after the link is back.
    braked = seconds[times > killed_ns][0] + 0.2
    dead = (seconds > braked) & (times < returned_ns - 300_000_000)
    assert dead.sum() > 10
    assert np.ptp(joints[dead][:, 0], axis=0).max() < 0.01, "the arm without a controller holds"
    assert np.ptp(joints[times > killed_ns][:, 1], axis=0).max() > 0.05, "the other arm goes on"
    assert speed(seconds, joints, 0).max() < 1.5 * cell.cell.safety.max_joint_speed, "no jump"
    assert cell.interrupt() < 15.0


def left_driver_log(cell):
    """Lines of the left arm's driver about its link."""
    lines = [line for line in cell.log().splitlines() if line.startswith("[left_arm_driver]")]
    return "\n".join(lines).replace("disconnected", "lost")


def test_ctrl_c_stops_everything_and_closes_the_open_episode(launch_cell, tmp_path):
    bags = tmp_path / "bags"
    cell = launch_cell(*TELEOP, "episodes:=5", f"output:={bags}")
    cell.wait_for(lambda: RECORDING in cell.log(), "recording", 90)
    check_page_against_graph()
    children = cell.children()
    assert cell.interrupt() < 15.0, cell.log()[-4000:]
    assert not [child for child in children if child.is_running()]
    assert cell.log().count("controlled stop") >= 2  # one per controller
    (bag,) = bags.glob("episode_*")
    assert read_episode_bag(bag).outcome["outcome"] == "interrupted"


def check_page_against_graph():
    """docs/topics.md lists what runs: every topic with its type and every service."""
    topics, services = page_names()
    elsewhere = (
        "/policy/instruction",
        "robot_description",
        "/tf",
        "/tf_static",
    )  # of the other launches
    wanted_topics = {name: kind for name, kind in topics.items() if not name.endswith(elsewhere)}
    # Of the policy's services an operator calls one, whose name is in the graph without its node.
    of_policies = {name for name in services if name.startswith("/policy")} - {"/policy/start"}
    wanted_services = services - of_policies
    found_topics, found_services = running_graph(wanted_topics, wanted_services)
    assert found_topics == wanted_topics
    assert found_services == wanted_services


def page_names():
    page = (Path(__file__).parents[2] / "docs" / "topics.md").read_text()
    topics, services = {}, set()
    # The table behind the topics lists what the other back end of the arms talks to.
    other_arms = page[page.index("With `driver: ros2_control`") : page.index("## Services")]
    for line in page.replace(other_arms, "").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = cells[0].strip("`")
        if not name.startswith("/"):
            continue
        sides = [name.replace("<side>", side) for side in ("left", "right")]
        names = sides if "<side>" in name else [name]
        if "<role>" in name:
            roles = ("overhead", "left_wrist", "right_wrist")
            names = [name.replace("<role>", role) for role in roles]
        if "/msg/" in cells[1]:
            topics |= dict.fromkeys(names, cells[1])
        else:
            services |= set(names)
    return topics, services


def running_graph(topics, services):
    """Topics with types and trigger services, once they are as wanted or after a deadline."""
    import rclpy

    rclpy.init()
    node = rclpy.create_node("graph_reader")
    try:
        deadline = time.monotonic() + 20
        while True:
            found_topics = {
                name: types[0]
                for name, types in node.get_topic_names_and_types()
                if name not in ("/rosout", "/parameter_events")
                and not name.endswith("/transition_event")  # of every lifecycle node
            }
            found_services = {
                name
                for name, types in node.get_service_names_and_types()
                if types == ["std_srvs/srv/Trigger"]
            }
            if (found_topics, found_services) == (topics, services):
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return found_topics, found_services
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
