"""One device has one name, whatever a cell file calls it."""

from dataclasses import replace

import pytest

from ate_core.contract import load_cell
from ate_core.device_names import (
    arm_device,
    camera_device,
    gripper_device,
    headset_device,
    joycon_device,
    unstable_names,
)

CELL = load_cell(None, "real")
ARM, GRIPPER = CELL.arms["left"], CELL.grippers["left"]
CAMERA, OPERATOR = CELL.cameras["overhead"], CELL.operators["left"]


def test_a_serial_port_and_a_video_device_are_named_by_what_their_links_lead_to(tmp_path):
    port, link = tmp_path / "ttyUSB0", tmp_path / "by-id"
    link.symlink_to(port)
    unplugged = gripper_device(replace(GRIPPER, port=str(link)))
    assert unplugged == gripper_device(replace(GRIPPER, port=str(port)))
    for name in (link, f"{tmp_path}/./ttyUSB0"):
        camera = replace(CAMERA, backend="v4l2", serial=str(name))
        assert camera_device(camera) == f"camera {port}"


def test_grippers_share_a_can_bus_and_no_serial_port():
    ids = {
        port: len({gripper_device(replace(GRIPPER, port=port, device_id=n)) for n in (1, 2)})
        for port in ("can0", "/dev/ttyUSB0")
    }
    assert ids == {"can0": 2, "/dev/ttyUSB0": 1}


def test_a_controller_and_a_headset_are_told_by_address_and_emulated_ones_by_port_too():
    assert arm_device(ARM) == arm_device(replace(ARM, tcp_port=8081, namespace="/right"))
    assert headset_device(OPERATOR) == "headset 192.168.1.31"
    emulated = [replace(ARM, ip=ip, tcp_port=port) for ip, port in
                [("127.0.0.2", 8080), ("127.0.0.3", 8080), ("127.0.0.2", 8081)]]  # fmt: skip
    assert len({arm_device(arm) for arm in emulated}) == 3


def test_a_joycon_is_told_by_its_address_in_any_writing_and_an_emulated_one_is_none():
    real = "98:b6:e9:01:02:03"
    names = {joycon_device(replace(OPERATOR, joycon_serial=text))
             for text in (real, real.upper(), real.replace(":", ""))}  # fmt: skip
    assert names == {"Joy-Con 98B6E9010203"}
    assert {joycon_device(one) for one in load_cell(None, "sim").operators.values()} == {""}


@pytest.mark.parametrize("backend", ["realsense", "software"])
def test_a_camera_without_a_serial_and_a_drawn_one_are_no_devices(backend):
    serial = "overhead" if backend == "software" else ""
    assert camera_device(replace(CAMERA, backend=backend, serial=serial)) == ""


@pytest.mark.parametrize(
    "name",
    ["/dev/ttyUSB0", "/dev/ttyACM1", "/dev/ttyXRUSB0", "/dev/rfcomm2", "/dev/./ttyUSB12",
     "//dev//ttyUSB0", "/dev/serial/by-id/../../ttyUSB0", "/dev/char/188:0"],
)  # fmt: skip
def test_a_port_by_a_number_of_the_kernel_is_named_with_its_remedy(name):
    grippers = {"left": replace(GRIPPER, port=name), "right": CELL.grippers["right"]}
    ((place, value, remedy),) = unstable_names(grippers, CELL.cameras)
    assert place == "grippers.left.port" and value.startswith(f"{name}, which may be another")
    assert "use /dev/serial/by-id/" in remedy and "/dev/serial/by-path/" in remedy


@pytest.mark.parametrize("name", ["/dev/video4", "/dev/./video0", "/dev/char/81:2"])
def test_a_camera_by_a_number_of_the_kernel_is_named_with_its_remedy(name):
    cameras = {**CELL.cameras, "overhead": replace(CAMERA, backend="v4l2", serial=name)}
    ((place, value, remedy),) = unstable_names(CELL.grippers, cameras)
    assert place == "cameras.overhead.serial" and value.startswith(f"{name}, which may be another")
    assert "use /dev/v4l/by-id/" in remedy


@pytest.mark.parametrize(
    "name",
    ["/dev/serial/by-id/usb-FTDI_ttyUSB0-if00", "/dev/serial/by-path/pci-0:1.0-port0",
     "/dev/omnipicker-left", "/dev/gripper1", "/dev/ttyS0", "/home/me/ttyUSB0", "can0"],
)  # fmt: skip
def test_a_link_and_a_port_of_the_board_are_stable(name):
    assert not list(unstable_names({"left": replace(GRIPPER, port=name)}, CELL.cameras))


def test_of_two_can_interfaces_each_may_become_the_other():
    def places(left, right):
        grippers = {"left": replace(GRIPPER, port=left), "right": replace(GRIPPER, port=right)}
        return [place for place, *_ in unstable_names(grippers, {})]

    assert places("can0", "can0") == []
    assert places("can0", "can1") == ["grippers.left.port", "grippers.right.port"]
    assert places("can_left", "can1") == []
