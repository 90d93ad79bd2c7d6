"""The doctor at this machine and at devices, which are emulated here."""

import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ate_bringup.cli import main
from ate_bringup.doctor import dds, graph, libraries, machine, probes, usb
from ate_bringup.doctor.finding import Patient
from ate_bringup.doctor.probes import Probe
from ate_core.contract import load_cell, packaged_cell
from ate_core.nodes.claim import DeviceClaim, in_domain

LIMIT = 30.0


def texts(found, status=None):
    return [one.text for one in found if status in (None, one.status)]


def test_the_space_and_the_speed_of_the_disk_are_told(tmp_path, monkeypatch):
    patient = Patient(output=tmp_path / "bags" / "new")
    assert f"disk of {tmp_path}" in texts(machine.look_at_space(patient))[0]
    assert "MB/s" in texts(machine.look_at_disk_speed(patient))[0]
    monkeypatch.setattr(machine, "REFUSED_FREE", 1e18)
    (finding,) = machine.look_at_space(patient)
    assert finding.status == "fail" and "another output folder" in finding.remedy
    assert list(tmp_path.iterdir()) == []


def test_the_priority_asked_for_is_the_one_that_the_page_grants():
    page = Path(__file__).parents[2] / "docs" / "workstation.md"
    assert f"rtprio   {machine.REALTIME_PRIORITY}\n" in page.read_text()


@pytest.mark.parametrize(
    ("asked", "words"),
    [("10", "SCHED_FIFO: ATE_FIFO_PRIORITY=10, permitted up to 0"), ("99", "need 0 (off) to 20")],
)
def test_real_time_priority_that_the_machine_cannot_give_is_named(monkeypatch, asked, words):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (0, 0))
    monkeypatch.setenv("ATE_FIFO_PRIORITY", asked)
    found = [*machine.look_at_processors(Patient())]
    assert words in " ".join(texts(found))
    monkeypatch.setenv("ATE_FIFO_PRIORITY", "0")
    assert "SCHED_FIFO" not in " ".join(texts(machine.look_at_processors(Patient())))


def test_clocks_and_priorities_are_looked_at(monkeypatch):
    assert any("wall clock" in text for text in texts(machine.look_at_clocks(Patient())))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (0, 0))
    found = texts(machine.look_at_processors(Patient()), "warn")
    assert "niceness: down to 20 (need -10): grant it in /etc/security/limits.conf" in found[0]


def test_a_device_file_that_may_not_be_opened_names_the_group(tmp_path, monkeypatch):
    port = tmp_path / "port"
    port.touch()
    assert machine._device_file("gripper", str(port), "dialout").status == "pass"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "usermod -aG dialout" in machine._device_file("gripper", str(port), "dialout").remedy
    missing = machine._device_file("gripper", str(tmp_path / "no"), "dialout")
    assert missing.status == "fail" and "No such file" in missing.value


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("ROS_DOMAIN_ID", "300", "fail"),
        ("ROS_DOMAIN_ID", "0", "warn"),
        ("ROS_DOMAIN_ID", "7", "pass"),
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF", "fail"),
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "EVERYWHERE", "fail"),
        ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp", "warn"),
    ],
)
def test_the_variables_of_discovery_are_judged(monkeypatch, name, value, status):
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    monkeypatch.setenv(name, value)
    statuses = [one.status for one in dds.look_at_discovery(Patient())]
    expected = ["pass"] * len(statuses)
    assert sorted(statuses) == sorted([*expected[1:], status])


def usb_tree(folder, cameras):
    """A folder like /sys/bus/usb/devices."""
    for index, (product, speed, controller) in enumerate(cameras):
        device = folder / "sys" / controller / f"usb{index}" / f"{index}-1"
        (device / f"{index}-1:1.0").mkdir(parents=True)
        (device / f"{index}-1:1.0" / "bInterfaceClass").write_text("0e\n")
        entries = {"idVendor": "8086", "idProduct": product, "speed": speed, "serial": f"s{index}"}
        for name, text in entries.items():
            (device / name).write_text(f"{text}\n")
        (folder / f"{index}-1").symlink_to(device)
    return folder


def test_cameras_on_a_slow_link_or_on_one_controller_are_told(tmp_path, monkeypatch):
    pci = "0000:00:14.0"
    tree = usb_tree(tmp_path, [("0b5b", "5000", pci), ("0b5b", "480", pci), ("0b64", "5000", pci)])
    monkeypatch.setattr(usb, "DEVICES", tree)
    found = list(usb.look_at_usb(Patient()))
    assert texts(found, "pass")[0] == f"D405 s0: 5000 Mbit/s on {pci}"
    slow, shared = texts(found, "warn")
    assert "D405 s1: 480 Mbit/s (need 5000 Mbit/s): use a USB 3 port" in slow
    assert "3 cameras (D405, D405, L515)" in shared
    assert (
        texts(found, "fail") == []
    )  # the packaged cell reads two by realsense, and two are there


def test_an_l515_that_the_cell_asks_of_librealsense_is_refused_by_name(tmp_path, monkeypatch):
    values = yaml.safe_load(packaged_cell().read_text())
    values["cameras"]["overhead"] |= {"backend": "realsense", "serial": ""}
    file = tmp_path / "cell.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    tree = usb_tree(tmp_path / "usb", [("0b5b", "5000", "a"), ("0b5b", "5000", "b"),
                                       ("0b64", "5000", "c")])  # fmt: skip
    monkeypatch.setattr(usb, "DEVICES", tree)
    (text,) = texts(usb.look_at_usb(Patient(cell_name=str(file))), "fail")
    assert text.startswith("L515: connected") and libraries.L515_REMEDY in text


def asked(probe, patient=None):
    return list(probes.ask(probe, patient or Patient()))


def test_a_probe_that_hangs_or_dies_fails_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(probes, "PROBE_LIMIT", 1.0)
    for name, text in (
        ("hangs", "import time; time.sleep(60)"),
        ("dies", "import os; os.abort()"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "probe.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (hung,) = asked(Probe(what="arm", package="hangs", name="left"))
    (dead,) = asked(Probe(what="arm", package="dies", name="left"))
    assert (hung.status, dead.status) == ("fail", "fail")
    assert "does not return within 1 s" in hung.value and "its probe ended" in dead.value


KINDS = (probes.arm_probes, probes.gripper_probes, probes.camera_probes, probes.operator_probes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_driver_that_runs_in_any_domain_is_not_disturbed(kind, tmp_path):
    probe = next(kind(load_cell(serials(tmp_path))))
    (device, *_) = [name for name in probe.devices if name]
    claim = DeviceClaim(lambda: [device])
    assert claim.take() == ""
    try:
        (text,) = texts(asked(probe))
        assert text.endswith(": a driver runs and is not disturbed: see /diagnostics")
    finally:
        claim.release()


def test_a_driver_without_an_address_is_not_disturbed_in_its_domain(empty_domain):
    claim = DeviceClaim(lambda: [in_domain("/cameras/wrist", int(os.environ["ROS_DOMAIN_ID"]))])
    assert claim.take() == ""
    try:
        assert "a driver runs" in texts(asked(Probe(what="wrist", package="p", name="wrist",
                                                    claim="/cameras/wrist")))[0]  # fmt: skip
    finally:
        claim.release()


def test_no_driver_begins_while_the_doctor_looks_at_its_device(monkeypatch):
    claim = DeviceClaim(lambda: ["camera 4711"])
    found = []
    monkeypatch.setattr(probes, "_look", lambda *_: iter([found.append(claim.take())]))
    asked(Probe(what="camera", package="p", name="c", devices=("camera 4711",)))
    assert f"process {os.getpid()} already uses camera 4711" in found[0]
    assert claim.take() == ""
    claim.release()


def serials(tmp_path):
    """A cell file whose cameras are named."""
    values = yaml.safe_load(packaged_cell().read_text())
    values["cameras"]["overhead"]["serial"] = "/dev/v4l/by-id/l515"
    file = tmp_path / "cell.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return str(file)


def test_devices_that_are_off_are_named_with_the_remedy(tmp_path):
    values = yaml.safe_load(packaged_cell().read_text())
    values["arms"]["left"]["ip"] = "127.99.0.2"
    values["grippers"]["left"]["port"] = "/dev/none"
    file = tmp_path / "cell.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    patient = Patient(cell_name=str(file))
    arm, gripper = (
        next(kind(patient.cell)) for kind in (probes.arm_probes, probes.gripper_probes)
    )
    (text,) = texts(asked(arm, patient), "fail")
    assert "nobody answers at 127.99.0.2:8080" in text and "check power" in text
    (text,) = texts(asked(gripper, patient), "fail")
    assert "/dev/none cannot be opened" in text


@pytest.fixture
def emulated_cell(tmp_path, runtime_dir):
    """A cell file with addresses of its own, and its devices of the left side, running."""
    low = os.getpid() % 250
    values = yaml.safe_load(packaged_cell().read_text())
    simulation = values["simulation"]
    for number, side in enumerate(("left", "right"), 2):
        arm = {
            "ip": f"127.66.{low}.{number}",
            "udp_port": 22_000 + 2 * (os.getpid() % 9000) + number,
        }
        simulation["arms"][side] = arm
        simulation["operators"][side]["headset_ip"] = arm["ip"]
    simulation["grippers"]["left"]["port"] = "{runtime_dir}/gripper_left"
    file = tmp_path / "cell.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    devices = [[kind, "--side", "left"] for kind in ("arm", "gripper", "headset", "joycon")]
    started = []
    for words in [*devices, ["camera", "--role", "overhead"]]:
        command = [sys.executable, "-m", "ate_bringup.cli", "emulate", *words, "--cell", str(file)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    for process in started:
        selector = selectors.DefaultSelector()
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(LIMIT), "an emulator says nothing"
    yield str(file)
    for process in started:
        process.send_signal(signal.SIGINT)
    assert [process.wait(10.0) for process in started] == [0] * len(started)


def test_each_device_that_runs_is_asked_who_it_is_and_the_others_fail(
    empty_domain, emulated_cell, capsys
):
    assert main(["doctor", "--cell", emulated_cell, "--hardware", "sim", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    found = {
        finding["what"]: finding
        for check in report["checks"]
        if check["group"] == "devices"
        for finding in check["findings"]
    }
    for what, words in (
        ("left arm", "RM75-6F, firmware"),
        ("left gripper", "polls answered"),
        ("left operator's headset", "right hand tracked"),
        ("left operator's Joy-Con", "connected, battery"),
        ("camera overhead", "pictures/s of 15"),
    ):
        assert found[what]["status"] in ("pass", "warn"), found[what]
        assert words in found[what]["value"] or found[what]["status"] == "warn"
    for what in ("right arm", "right gripper", "right operator's headset"):
        assert found[what]["status"] == "fail", found[what]
    assert all(check["seconds"] < check_limit(check["check"]) for check in report["checks"])


def check_limit(name):
    from ate_bringup.doctor.registry import CHECKS

    return next(check.limit for check in CHECKS if check.name == name)


def test_without_a_simulated_cell_its_devices_are_not_failures(
    empty_domain, runtime_dir, tmp_path, capsys
):
    low = os.getpid() % 250
    values = yaml.safe_load(packaged_cell().read_text())
    for number, side in enumerate(("left", "right"), 2):
        values["simulation"]["arms"][side]["ip"] = f"127.67.{low}.{number}"
        values["simulation"]["operators"][side]["headset_ip"] = f"127.67.{low}.{number}"
    file = tmp_path / "cell.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    assert main(["doctor", "--cell", str(file), "--hardware", "sim"]) == 0
    assert "ate_cell_sim does not run: no device to look at" in capsys.readouterr().out


@pytest.mark.ros
def test_two_nodes_of_one_name_fail(empty_domain):
    rclpy = pytest.importorskip("rclpy")
    context = rclpy.Context()
    rclpy.init(context=context)
    nodes = [rclpy.create_node("arm_driver", namespace="/left", context=context) for _ in range(2)]
    try:
        (text,) = texts(graph.look_at_nodes(Patient()), "fail")
    finally:
        for node in nodes:
            node.destroy_node()
        context.try_shutdown()
    assert "node /left/arm_driver: is there 2 times" in text


def test_what_cannot_be_listed_is_a_warning(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert texts(graph.look_at_nodes(Patient()), "warn")


def test_a_slow_adapter_and_a_saving_processor_are_told(tmp_path, monkeypatch):
    (tmp_path / "ttyUSB3" / "device").mkdir(parents=True)
    (tmp_path / "ttyUSB3" / "device" / "latency_timer").write_text("16\n")
    (tmp_path / "governor").write_text("powersave\n")
    monkeypatch.setattr(machine, "TTYS", tmp_path)
    monkeypatch.setattr(machine, "GOVERNOR", tmp_path / "governor")
    (text,) = texts(machine._latency("left gripper", "/dev/ttyUSB3"))
    assert "holds replies 16 ms (need 1 ms)" in text
    assert "processor clock: powersave" in " ".join(texts(machine.look_at_processors(Patient())))
