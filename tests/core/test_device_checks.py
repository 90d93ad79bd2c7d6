"""Cells whose entries are each in range, and which cannot work."""

import re

import pytest
import yaml

from ate_core.contract import load_cell, packaged_cell
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
