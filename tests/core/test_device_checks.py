"""Cells whose entries are each in range, and which cannot work."""

import re

import pytest
import yaml

from ate_core.contract import load_cell, packaged_cell, packaged_cells
from ate_core.errors import ContractError
from omnipicker_driver.client import ClientConfig

WRONG = {
    "socketcan with a serial port": (
        ("grippers", "left"),
        {"transport": "socketcan", "port": "/dev/ttyUSB0"},
        "grippers.left.port is '/dev/ttyUSB0' .* such as can0",
    ),
    "serial line named as a CAN interface": (
        ("grippers", "left"),
        {"port": "can0"},
        "grippers.left.port is 'can0' .* transport: socketcan",
    ),
    "no port": (("grippers", "right"), {"port": ""}, "grippers.right.port is '' "),
    "a folder as a port": (
        ("grippers", "left"),
        {"port": "/dev/serial/"},
        "grippers.left.port is '/dev/serial/' .* path of a serial port",
    ),
    "an operator without a headset": (
        ("operators", "right"),
        {"headset_ip": ""},
        "operators.right.headset_ip is ''; need the address",
    ),
    "a line that is too slow": (
        ("grippers", "left"),
        {"baud": 9600},
        "grippers.left.baud is 9600 bit/s: question and answer take 25.0 ms; need less",
    ),
    "a video device without its path": (
        ("cameras", "overhead"),
        {"serial": ""},
        "cameras.overhead.serial is '' for backend v4l2; .* such as /dev/v4l/by-id/",
    ),
    "a video device by a serial": (
        ("cameras", "overhead"),
        {"serial": "f0210138"},
        "cameras.overhead.serial is 'f0210138' for backend v4l2; ",
    ),
    "a path in place of a serial": (
        ("cameras", "left_wrist"),
        {"serial": "/dev/video4"},
        "cameras.left_wrist.serial is '/dev/video4' for backend realsense; .* backend: v4l2",
    ),
    "a serial with a blank": (
        ("cameras", "left_wrist"),
        {"serial": "218622271234 "},
        "cameras.left_wrist.serial is '218622271234 '; .* without blanks",
    ),
    "a serial that is no word": (
        ("cameras", "left_wrist"),
        {"serial": "2186 2227"},
        "serial is '2186 2227' for backend realsense; need the serial number",
    ),
    "a serial of two lines": (
        ("cameras", "left_wrist"),
        {"serial": "12\n34"},
        r"cameras.left_wrist.serial is '12\\n34'; need .* printable",
    ),
    "a port with a nought": (
        ("grippers", "left"),
        {"port": "/dev/tty\0USB0"},
        r"grippers.left.port is '/dev/tty\\x00USB0'; need .* printable",
    ),
    "an endless port": (
        ("grippers", "left"),
        {"port": "/dev/" + "x" * 5000},
        "grippers.left.port is '/dev/x+'; need at most 255",
    ),
    "a folder without its slash": (
        ("grippers", "left"),
        {"port": "/dev"},
        "grippers.left.port is '/dev' .* path of a serial port",
    ),
    "a gripper that is a camera": (
        ("cameras", "overhead"),
        {"serial": "/dev/serial/by-id/../by-id/omnipicker-left"},
        "grippers.left.port and cameras.overhead.serial are both .* no camera",
    ),
    "a port named after the other side": (
        ("grippers", "left"),
        {"port": "/dev/serial/by-id/gripper-right"},
        "grippers.left.port is .*gripper-right, which is named after the other side",
    ),
    "a camera on the other flange": (
        ("cameras", "left_wrist"),
        {
            "view": {
                "mount": "right_flange",
                "position": [0, 0, 0.06],
                "look_at": [0, 0, 0.1],
                "up": [1, 0, 0],
                "fovy": 58,
            }
        },
        "cameras.left_wrist.view.mount is right_flange, which is named after the other side",
    ),
    "a camera with the key of the other side": (
        ("cameras", "left_wrist"),
        {"key": "cam_right"},
        "cameras.left_wrist.key is cam_right, which is named after the other side",
    ),
    "a camera on nothing": (
        ("cameras", "overhead"),
        {"view": {"mount": "table", "position": [0, 0, 1], "look_at": [0.1, 0, 0], "fovy": 58}},
        "camera overhead: mount is 'table'; need one of world, left_flange, right_flange",
    ),
    "an arm on the other side": (
        ("arms", "left"),
        {"base_pose": [0.0, -0.75, 0.0, 0.0, 0.0, 0.0, 1.0]},
        "arms.left.base_pose is at y -0.75 m .* at -0.25 m; need the left arm on the left",
    ),
    "no joint names": (
        ("arms", "left"),
        {"joint_names": []},
        "joint_names has 0 entries, the model rm75_6f has 7 joints",
    ),
    "joints with blanks": (
        ("arms", "left"),
        {"joint_names": [f"joint {n}" for n in range(7)]},
        r"joint_names\[0\] is 'joint 0'; need a letter, then letters, digits",
    ),
    "joints that are numbers": (
        ("arms", "left"),
        {"joint_names": list(range(7))},
        r"joint_names\[0\] is '0'; need a letter",
    ),
    "a guard that is no number": (
        ("arms", "left"),
        {"guards": {"left_joint4": {"lower": float("nan")}}},
        "guards.left_joint4.lower is nan; need a finite number",
    ),
    "an endless guard": (
        ("arms", "left"),
        {"guards": {"left_joint4": {"upper": 10**400}}},
        "guards.left_joint4.upper is 1000.*; need a finite number",
    ),
    "a camera with the serial of the other side": (
        ("cameras", "left_wrist"),
        {"serial": "/dev/v4l/by-id/right-wrist", "backend": "v4l2"},
        "cameras.left_wrist.serial is /dev/v4l/by-id/right-wrist, .* after the other side",
    ),
    "a rotation with a position": (
        ("operators", "left"),
        {"hand_rotation": [5, 5, 5, 0, 0, 0, 1]},
        "operators.left.hand_rotation is .*; need a quaternion x, y, z, w",
    ),
    "pictures slower than the ticks": (
        ("cameras", "overhead"),
        {"fps": 15},
        "cameras.overhead.fps is 15; need at least tick_rate",
    ),
}


def refusal(tmp_path, edit):
    values = yaml.safe_load(packaged_cell().read_text())
    edit(values)
    path = tmp_path / "cell.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ContractError) as refused:
        load_cell(str(path), "real")
    return str(refused.value)


@pytest.mark.parametrize("name", WRONG)
def test_a_cell_whose_devices_cannot_work_is_refused_with_the_entry(tmp_path, name):
    (section, entry), changes, words = WRONG[name]
    text = refusal(tmp_path, lambda values: values[section][entry].update(changes))
    assert re.search(words, text), text


@pytest.mark.parametrize("missing", ["right_arm", "left_gripper"])
def test_a_driven_arm_or_gripper_must_be_in_both_vectors(tmp_path, missing):
    def edit(values):
        kept = [one for one in values["vectors"]["action"] if one["name"] != missing]
        values["vectors"]["action"] = kept

    assert f"vectors.action has no {missing}" in refusal(tmp_path, edit)


def test_the_field_of_a_gripper_holds_one_ratio(tmp_path):
    def edit(values):
        values["vectors"]["state"][1]["size"] = 2

    assert "gives left_gripper the size 2; need 1" in refusal(tmp_path, edit)


def test_a_field_that_no_device_gives_is_refused(tmp_path):
    def edit(values):
        values["vectors"]["state"].append({"name": "lift", "unit": "m", "size": 1})

    text = refusal(tmp_path, edit)
    assert "vectors.state has lift, which no device of this cell gives" in text


@pytest.mark.parametrize(("part", "offset"), [("arm", 0), ("gripper", 1)])
def test_right_before_left_in_a_vector_is_refused(tmp_path, part, offset):
    def edit(values):
        fields = values["vectors"]["state"]  # and the action: one list in the file
        fields[offset], fields[2 + offset] = fields[2 + offset], fields[offset]

    words = f"vectors.state has right_{part} before left_{part}; need left before right"
    assert words in refusal(tmp_path, edit)


@pytest.mark.parametrize(("entry", "rate"), [("arm_state", 10.0), ("gripper", 5.0)])
@pytest.mark.parametrize("hardware", ["real", "sim"])
def test_states_slower_than_the_ticks_are_refused(tmp_path, entry, rate, hardware):
    values = yaml.safe_load(packaged_cell().read_text())
    values["rates"] = {entry: rate}
    path = tmp_path / "cell.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(
        ContractError,
        match=rf"rates\.{entry} is {rate:g}; need .* same state twice: raise {entry}",
    ):
        load_cell(path, hardware)


@pytest.mark.parametrize("rate", [5.0, 50.0, 66.0, 67.0, 100.0])
def test_a_gripper_can_be_polled_at_every_rate_that_a_cell_may_give(rate):
    config = ClientConfig.from_cell(load_cell(None, "real").grippers["left"], rate)
    assert config.read_limit < 1.0 / rate and config.read_limit <= 0.015


def test_one_adapter_under_two_names_is_refused_for_two_grippers(tmp_path):
    (tmp_path / "by-id").symlink_to(tmp_path / "ttyUSB0")

    def edit(values):
        for side, name in (("left", "by-id"), ("right", "ttyUSB0")):
            values["grippers"][side]["port"] = str(tmp_path / name)

    text = refusal(tmp_path, edit)
    assert f"left.port and grippers.right.port are both serial port {tmp_path}/ttyUSB0" in text


@pytest.mark.parametrize("name", ["", "the post", "a/b", "7", "p\n"])
def test_an_obstacle_whose_name_no_link_can_have_is_refused(tmp_path, name):
    post = {"shape": "sphere", "size": [0.05], "pose": [0.2, 0.7, 0.1, 0, 0, 0, 1]}
    text = refusal(tmp_path, lambda values: values.update(obstacles={name: post}))
    assert f"obstacles has the name {name!r}; need a letter" in text


def test_shapes_of_a_gripper_that_nobody_knows_are_refused_with_those_known(tmp_path):
    text = refusal(tmp_path, lambda v: v.update(guard={"gripper": "nosuch"}))
    assert "guard.gripper is 'nosuch'; need one of omnipicker" in text


def test_a_file_that_names_the_other_body_is_refused(tmp_path):
    text = refusal(tmp_path, lambda v: v.update(hardware="sim"))
    assert "hardware is 'sim', and real is asked for" in text


def test_arms_whose_topics_are_those_of_the_other_side_are_refused(tmp_path):
    values = yaml.safe_load(packaged_cells()["six_axis"].read_text())
    left, right = values["arms"]["left"], values["arms"]["right"]
    left["options"], right["options"] = right["options"], left["options"]
    path = tmp_path / "cell.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(
        ContractError, match=r"left\.options\.command_topic is /right/.* other side"
    ):
        load_cell(path)
    left["options"] = {"controller_manager": "/no where"}
    del right["options"]
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ContractError, match="controller_manager is '/no where'; need letters"):
        load_cell(path)


@pytest.mark.parametrize(
    ("topic", "name", "taken"),
    [
        ("scene_objects", "/left/gripper/command", "topics.gripper_command of the left arm"),
        ("scene_info", "/estop", "a name of every cell"),
        ("cameras", "/estop/request", "a name of every cell"),
        ("scene_objects", "/tf", "a name of every cell"),
        ("scene_info", "/scene/objects", "topics.scene_objects"),
        ("hold", "arm/joint_command", "topics.joint_command"),
    ],
)
def test_a_topic_that_is_another_of_the_cell_is_refused(tmp_path, topic, name, taken):
    text = refusal(tmp_path, lambda v: v.setdefault("topics", {}).update({topic: name}))
    assert taken in text and f"topics.{topic}" in text
    assert "give each its own name" in text and text.count("give each") == 1


def test_a_simulated_port_that_leads_out_of_the_runtime_folder_is_refused(tmp_path):
    values = yaml.safe_load(packaged_cell().read_text())
    values["simulation"]["grippers"]["left"]["port"] = "{runtime_dir}/../../dev/ttyUSB0"
    path = tmp_path / "cell.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ContractError, match="in simulation; need one within"):
        load_cell(path, "sim")


def test_a_drawn_camera_needs_no_calibration(tmp_path):
    values = yaml.safe_load(packaged_cell().read_text())
    values["cameras"]["overhead"]["calibration"] = "overhead.yaml"
    path = tmp_path / "cell.yaml"
    path.write_text(yaml.safe_dump(values))
    assert load_cell(path, "real").cameras["overhead"].calibration == f"{tmp_path}/overhead.yaml"
    assert load_cell(path, "sim").cameras["overhead"].calibration == ""
