"""Every number of a cell file has a physical range, and what must be unique is."""

import dataclasses
import typing
from pathlib import Path

import pytest
import yaml

from ate_core.arm_model import Servos
from ate_core.contract import Cell, load_cell, packaged_cell, packaged_cells, parse_cell_text
from ate_core.entry_checks import EntryCheck
from ate_core.errors import ContractError


def numbers_without_a_check(kind, where, checked=False):
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        inner, *checks = typing.get_args(kind)
        has_check = any(isinstance(check, EntryCheck) for check in checks)
        yield from numbers_without_a_check(inner, where, checked or has_check)
    elif dataclasses.is_dataclass(kind):
        for name, hint in typing.get_type_hints(kind, include_extras=True).items():
            yield from numbers_without_a_check(hint, f"{where}.{name}")
    elif origin is not None and origin is not typing.Literal:
        for argument in typing.get_args(kind):
            yield from numbers_without_a_check(argument, where, checked)
    elif kind in (int, float) and not checked:
        yield where


@pytest.mark.parametrize("kind", [Cell, Servos])
def test_every_number_of_a_file_has_a_physical_range(kind):
    assert list(numbers_without_a_check(kind, kind.__name__)) == []


@pytest.mark.parametrize("name", [None, *packaged_cells()])
@pytest.mark.parametrize("hardware", ["real", "sim"])
def test_the_packaged_cells_are_in_range(name, hardware):
    assert load_cell(name, hardware).hardware == hardware


def change(*path_and_value):
    *path, last, value = path_and_value

    def edit(values):
        for key in path:
            values = values.setdefault(key, {}) if isinstance(key, str) else values[key]
        values[last] = value

    return edit


def swap(section, entry):
    def edit(values):
        left, right = values[section]["left"], values[section]["right"]
        left[entry], right[entry] = right[entry], left[entry]

    return edit


LEFT, RIGHT = ("arms", "left"), ("arms", "right")
POSE = [0.0, 0.25, 0.0, 0.0, 0.0, 0.0, 1.0]
DEGREES = [178.0, 130.0, 178.0, 135.0, 178.0, 128.0, 360.0]
NAMES = [f"right_joint{n}" for n in range(1, 8)]

WRONG = {
    "both arms at one address": (change(*LEFT, "ip", "192.168.1.19"), "ip:tcp_port and .* both"),
    "one address, another port": (
        lambda v: (change(*LEFT, "ip", "192.168.1.19")(v), change(*LEFT, "tcp_port", 8081)(v)),
        "arms.left.ip and arms.right.ip are both 192.168.1.19",
    ),
    "an octet of 300": (change(*LEFT, "ip", "300.1.1.1"), "ip is '300.1.1.1'; need an IPv4"),
    "three octets": (change(*LEFT, "ip", "192.168.1"), "need an IPv4 address"),
    "a host name": (change(*LEFT, "ip", "arm-left.local"), "no host name"),
    "an address as a number": (change(*LEFT, "ip", 3232235794), "need an IPv4 address"),
    "the broadcast address": (change(*LEFT, "ip", "192.168.1.255"), "network or its broadcast"),
    "everybody": (change(*LEFT, "ip", "255.255.255.255"), "give the device's own"),
    "anybody": (change(*LEFT, "ip", "0.0.0.0"), "no address of a device"),
    "a multicast address": (change(*LEFT, "ip", "224.0.0.1"), "a multicast address"),
    "port 0": (change(*LEFT, "tcp_port", 0), "tcp_port is 0; need 1 to 65535"),
    "port 70000": (change(*LEFT, "tcp_port", 70000), "tcp_port is 70000; need 1 to 65535"),
    "push to port 80": (change(*LEFT, "udp_port", 80), "udp_port is 80; need 1024"),
    "one push port": (change(*LEFT, "udp_port", 8090), "share UDP port 8090"),
    "push each second": (change(*LEFT, "udp_cycle_ms", 1000), "udp_cycle_ms is 1000 ms"),
    "push slower than patience": (change(*LEFT, "udp_cycle_ms", 50), "a third of safety.feedback"),
    "states faster than the push": (change("rates", "arm_state", 400.0), "no more can be had"),
    "one namespace": (change(*LEFT, "namespace", "/right"), "arms.left.namespace and arms.right"),
    "namespaces swapped": (swap("arms", "namespace"), "the name of the other side"),
    "namespace without slash": (change(*LEFT, "namespace", "left"), "begins with /"),
    "namespace with a blank": (change(*LEFT, "namespace", "/my left"), "as ROS names have"),
    "gripper of the other arm": (swap("grippers", "namespace"), "that of its arm"),
    "joint names of the other arm": (change(*LEFT, "joint_names", NAMES), "its own name"),
    "limits in degrees": (change(*LEFT, "joint_upper", DEGREES), "178 deg are 3.107 rad"),
    "limits wider than the arm": (
        change(*LEFT, "joint_upper", [3.1, 2.9, 3.1, 2.355, 3.1, 2.233, 6.28]),
        "joint_upper of left_joint2 is 2.9 rad; need -2.268 to 2.268",
    ),
    "limits the wrong way round": (
        change(*LEFT, "joint_upper", [-3.1, -2.0, -3.1, -2.0, -3.1, -2.0, -6.0]),
        "outside",
    ),
    "speeds in degrees": (change(*LEFT, "joint_speed", [180.0] * 7), "180 deg/s are 3.142 rad/s"),
    "speeds of another arm": (change(*LEFT, "joint_speed", [5.0] * 7), "need at most 3.14"),
    "speed 0": (change(*LEFT, "joint_speed", [0.0] * 7), r"joint_speed\[0\] is 0.0 rad/s"),
    "guard in degrees": (
        change(*LEFT, "guards", {"left_joint6": {"upper": 120.0}}),
        r"guards.left_joint6.upper is 120.0 rad",
    ),
    "home in degrees": (
        change(*LEFT, "home", [0.0, -20.0, 0.0, 115.0, 0.0, 85.0, 0.0]),
        "Is it in deg",
    ),
    "home at the limit": (
        change(*LEFT, "home", [3.1, -0.35, 0.0, 2.0, 0.0, 1.4916, 0.0]),
        "less safety.position_margin: move home inside",
    ),
    "home in the table": (
        change(*LEFT, "home", [0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0]),
        "mm from the obstacle table; need 10 mm|the guard's workspace",
    ),
    "a workspace without home": (
        lambda v: v.update(guard={"workspace_lower": [0.6, -1.0, 0.0]}),
        "puts the grasp point at 0.122 m in x; need 0.6 to 0.95 m",
    ),
    "a table as high as the arms": (
        lambda v: v.update(
            obstacles={
                "table": {
                    "shape": "box",
                    "size": [0.9, 1.6, 3.4],
                    "pose": [0.25, 0, -0.03, 0, 0, 0, 1],
                    "is_worked_on": True,
                }
            }
        ),
        "mm from the obstacle table",
    ),
    "a guard that stops at contact": (
        lambda v: v.update(guard={"arm_arm": {"stop": 0.001, "slow": 0.1}}),
        "guard.arm_arm.stop is 0.001 m; need at least 0.005",
    ),
    "a wrist camera in the next room": (
        change("cameras", "left_wrist", "view", "position", [0.09, 0.0, 2.5]),
        "2.5 m from left_flange; need at most 0.5 m",
    ),
    "a camera under the floor": (
        change("cameras", "overhead", "view", "position", [0.08, 0.0, -1.05]),
        "-1.05 m high",
    ),
    "home of both in one place": (
        change(*RIGHT, "base_pose", [0.243, 0.25, 0.0, 0.0, 0.0, 1.0, 0.0]),
        "grasp points .* mm apart",
    ),
    "zero quaternion": (change(*LEFT, "base_pose", [0.0] * 7), "of length 0; need length 1"),
    "quaternion of length 2": (change(*LEFT, "base_pose", [*POSE[:6], 2.0]), "of length 2"),
    "angles in place of a quaternion": (
        change(*LEFT, "base_pose", [0.0, 0.25, 0.0, 0.0, 0.0, 90.0, 0.0]),
        "of length 90",
    ),
    "base in millimetres": (
        change(*LEFT, "base_pose", [0.0, 250.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
        "250 mm are 0.25 m",
    ),
    "bases in each other": (change(*LEFT, "base_pose", [0, -0.2, 0, 0, 0, 0, 1]), "mm apart"),
    "payload of 50 kg": (change(*LEFT, "payload_kg", 50.0), "payload_kg is 50.0 kg"),
    "payload in grams": (change(*LEFT, "payload_kg", 430), "430 g are 0.43 kg"),
    "payload of a bigger arm": (change(*LEFT, "payload_kg", 7.5), "carries at most 5 kg"),
    "payload below 0": (change(*LEFT, "payload_kg", -0.43), "payload_kg is -0.43 kg"),
    "tool in millimetres": (change(*LEFT, "tool_length", 160), "160 mm are 0.16 m"),
    "tool beyond its shapes": (
        change(*LEFT, "tool_length", 0.25),
        "tool_length is 0.25 m; need at most 0.17",
    ),
    "tool backwards": (change(*LEFT, "tool_length", -0.16), "tool_length is -0.16 m"),
    "a fast stream": (change("rates", "arm_stream", 5000.0), "arm_stream is 5000.0 Hz"),
    "a slow stream": (change("rates", "arm_stream", 50.0), "realman of the left arm needs 100"),
    "gripper polled too fast": (change("rates", "gripper", 1000.0), "gripper is 1000.0 Hz"),
    "teleop once a second": (change("rates", "teleop", 1.0), "teleop is 1.0 Hz"),
    "tick each minute": (change("tick_rate", 0.017), "tick_rate is 0.017 Hz"),
    "patience of a minute": (change("safety", "command_timeout", 60.0), "60 ms are 0.06 s"),
    "patience of no command": (change("safety", "command_timeout", 0.0001), "is 0.0001 s"),
    "feedback of a minute ago": (change("safety", "feedback_timeout", 60), "feedback_timeout is"),
    "commands of yesterday": (change("safety", "stamp_max_age", 86400), "stamp_max_age is"),
    "joint speed 200": (change("safety", "max_joint_speed", 200.0), "200 deg/s are 3.491 rad/s"),
    "joint speed beyond the wall": (
        change("safety", "max_joint_speed", 3.0),
        "further than 5 degrees from the last.*give at most 2.91 rad/s",
    ),
    "joint speed of no joint": (change("safety", "max_joint_speed", 6.0), "no joint of the cell"),
    "acceleration in degrees": (
        change("safety", "max_joint_acceleration", 860.0),
        "860 deg/s\\^2 are 15.01",
    ),
    "brakes that do not": (
        change("safety", "max_joint_acceleration", 0.6),
        "to stop from 2 rad/s takes 3.3 rad",
    ),
    "brakes that come on slowly": (
        lambda v: [
            change("safety", "max_joint_acceleration", 2.0)(v),
            change("safety", "max_joint_jerk", 50.0)(v),
        ],
        "max_joint_jerk 50 rad/s\\^3: to stop from 2 rad/s takes 1 rad; need at most 1 rad",
    ),
    "steps in degrees": (change("safety", "max_step", 20.0), "20 deg are 0.3491 rad"),
    "no margin": (change("safety", "position_margin", -0.02), "position_margin is -0.02 rad"),
    "one serial port": (
        change("grippers", "left", "port", "/dev/serial/by-id/omnipicker-right"),
        "each gripper its own adapter",
    ),
    "one serial port, written otherwise": (
        change("grippers", "left", "port", "/dev/serial/../serial/by-id/omnipicker-right"),
        "each gripper its own adapter",
    ),
    "a line speed that none has": (change("grippers", "left", "baud", 115000), "need one of 9600"),
    "gripper force 300": (change("grippers", "left", "force", 300), "force is 300; need 1 to 255"),
    "gripper speed 0": (change("grippers", "left", "speed", 0), "speed is 0; need 1 to 255"),
    "stroke in millimetres": (change("grippers", "left", "stroke_m", 120.0), "120 mm are 0.12 m"),
    "device id 0": (change("grippers", "left", "device_id", 0), "device_id is 0"),
    "one camera twice": (
        lambda v: [
            change("cameras", role, "serial", "230322271234")(v)
            for role in ("left_wrist", "right_wrist")
        ],
        "two roles show one picture",
    ),
    "camera 3 pixels high": (change("cameras", "overhead", "height", 3), "height is 3; need 48"),
    "camera of 1000 Hz": (change("cameras", "overhead", "fps", 1000), "fps is 1000 Hz"),
    "view angle in radians": (
        change("cameras", "overhead", "view", "fovy", 0.75),
        "0.75 rad are 42.97 deg",
    ),
    "camera 1050 m up": (
        change("cameras", "overhead", "view", "position", [80.0, 0.0, 1050.0]),
        "80 cm are 0.8 m|80 mm are 0.08 m",
    ),
    "simulated pictures": (
        change("cameras", "overhead", "backend", "software"),
        "which shows simulated pictures",
    ),
    "headset at 300": (change("operators", "left", "headset_ip", "300.1.1.1"), "headset_ip is"),
    "one headset": (
        change("operators", "left", "headset_ip", "192.168.1.32"),
        "one person moves both arms",
    ),
    "the headset is an arm": (
        change("operators", "left", "headset_ip", "192.168.1.18"),
        "an arm is no headset",
    ),
    "headset port 0": (change("operators", "left", "headset_port", 0), "headset_port is 0"),
    "one Joy-Con": (
        change("operators", "left", "joycon_serial", "00:00:00:00:00:02"),
        "one clutch engages both arms",
    ),
    "one Joy-Con, written otherwise": (
        lambda v: [
            change("operators", side, "joycon_serial", serial)(v)
            for side, serial in (("left", "98:B6:e9:00:00:aa"), ("right", "98b6e90000AA"))
        ],
        "one clutch engages both arms",
    ),
    "a Joy-Con address without quotes": (
        change("operators", "left", "joycon_serial", 1),
        "in quotes",
    ),
    "operators swapped": (swap("operators", "arm"), "operators.left.arm is right; need left"),
    "both operators on one arm": (change("operators", "left", "arm", "right"), "need left"),
    "hand scale 100": (change("operators", "left", "scale", 100.0), "scale is 100.0"),
    "hand scale 0": (change("operators", "left", "scale", 0.0), "scale is 0.0"),
    "yaw in degrees": (change("operators", "left", "yaw", 90.0), "90 deg are 1.571 rad"),
    "hand rotation of length 0": (
        change("operators", "left", "hand_rotation", [0.0] * 4),
        "0 0 0 1 turns nothing",
    ),
    "commands on the topic of states": (
        change("topics", "joint_command", "arm/joint_states"),
        "topics.joint_states and topics.joint_command are both",
    ),
    "one topic for both arms": (
        change("topics", "joint_command", "/arm/joint_command"),
        "each arm adds its namespace",
    ),
    "joints in degrees": (
        lambda v: v["vectors"]["state"].__setitem__(
            0, {"name": "left_arm", "unit": "deg", "size": 7}
        ),
        "vectors.state gives left_arm in deg; need rad",
    ),
}


def edited(tmp_path, edit, base=None):
    file = base or packaged_cell()
    values = yaml.safe_load(file.read_text())
    edit(values)
    target = tmp_path / "cell.yaml"
    target.write_text(yaml.safe_dump(values, sort_keys=False))
    return target


@pytest.mark.parametrize(("edit", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_cell_is_refused_with_entry_value_bound_and_remedy(tmp_path, edit, words):
    with pytest.raises(ContractError, match=words) as caught:
        load_cell(edited(tmp_path, edit))
    assert "\n" not in str(caught.value)


SIMULATED = {
    "both arms at one address": (("arms", "left", "ip", "127.0.0.3"), "ip:tcp_port"),
    "an octet of 300": (("arms", "left", "ip", "300.0.0.2"), "need an IPv4"),
    "one port": (("grippers", "left", "port", "{runtime_dir}/gripper_right"), "its own adapter"),
    "one headset": (("operators", "left", "headset_ip", "127.0.0.3"), "moves both arms"),
    "a real arm": (
        ("arms", "left", "ip", "192.168.1.18"),
        "arms.left.ip is 192.168.1.18 in simulation; need 127.x.x.x",
    ),
    "a real headset": (("operators", "left", "headset_ip", "10.0.0.7"), "move a real device"),
    "a real serial port": (
        ("grippers", "left", "port", "/dev/ttyUSB0"),
        "grippers.left.port is /dev/ttyUSB0 in simulation",
    ),
    "a camera of 1000 Hz": (("cameras", "overhead", "fps", 1000), "fps is 1000 Hz"),
}


@pytest.mark.parametrize(("path", "words"), SIMULATED.values(), ids=SIMULATED)
def test_a_wrong_simulation_section_is_refused_likewise(tmp_path, path, words):
    file = edited(tmp_path, change("simulation", *path))
    load_cell(file, "real")
    with pytest.raises(ContractError, match=words):
        load_cell(file, "sim")


def test_a_simulation_that_would_reach_the_real_arm_is_refused(tmp_path):
    file = edited(tmp_path, lambda v: v["simulation"]["arms"].pop("right"))
    with pytest.raises(ContractError, match=r"arms\.right\.ip is 192.168.1.19 in simulation"):
        load_cell(file, "sim")


def test_arms_that_share_a_topic_of_their_driver_are_refused(tmp_path):
    def edit(values):
        values["arms"]["left"]["options"] = values["arms"]["right"]["options"]

    with pytest.raises(ContractError, match=r"options\.command_topic are both /right/forward"):
        load_cell(edited(tmp_path, edit, packaged_cells()["six_axis"]))


def test_a_key_that_is_there_twice_is_refused(tmp_path):
    file = tmp_path / "cell.yaml"
    text = packaged_cell().read_text()
    file.write_text(text.replace("    ip: 192.168.1.18\n", "    ip: 1.1.1.1\n    ip: 1.1.1.2\n"))
    with pytest.raises(ContractError, match=r"the key 'ip' of line \d+ is there again in line"):
        load_cell(file)


def test_a_text_in_an_old_recording_is_read_though_its_numbers_are_refused_today():
    values = yaml.safe_load(load_cell().canonical_text())
    values["rates"]["arm_stream"] = 50.0
    values["safety"]["command_timeout"] = 60.0
    values["arms"]["left"]["payload_kg"] = 50.0
    values["tick_rate"] = 100.0
    for camera in values["cameras"].values():
        camera["exposure_us"] = 20
    cell = parse_cell_text(yaml.safe_dump(values))
    assert cell.safety.command_timeout == 60.0
    assert cell.tick_rate == 100.0
    assert {camera.exposure_us for camera in cell.cameras.values()} == {20}


ROBOTS = Path(__file__).parents[2] / "benchmarks/third_party/robots"


@pytest.mark.parametrize("name", ["panda", "two_pandas"])
def test_a_robot_that_is_only_read_from_files_needs_no_addresses(name):
    assert load_cell(ROBOTS / f"{name}.yaml").operators == {}
