"""The bytes of every transport, and a whole gripper behind each."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ate_core.contract import load_cell, packaged_cell
from ate_core.drivers import GRIPPER_TRANSPORTS
from ate_core.errors import ContractError, UsageError
from omnipicker_driver.client import ClientConfig, GripperClient
from omnipicker_driver.emulator import EmulatedGripper, EmulatorConfig, IdealPlant, call
from omnipicker_driver.protocol import Command, Report, encode_command, encode_report
from omnipicker_driver.state import GripperState
from omnipicker_driver.transports import load_kind

NAMES = GRIPPER_TRANSPORTS.names()
OPEN = encode_command(Command(position=1.0))
REPORT = encode_report(Report(position=77 / 255))

FRAMES = {
    "rs485": ([], "4141 01 00FFFFFFFFFF0000 03"),
    "at": (["41542B45540D0A"], "00FFFFFFFFFF0000"),
    "can_a": (
        ["AA5512 0102 0000000000000000000000000000 15"],
        "AAE8 01000000 00FFFFFFFFFF0000 55",
    ),
    "ucanfd": (
        [
            "493B4257 00000000000000000000000000000000 452E",
            "493B4457010001 00000000000000000000000000 452E",
        ],
        "5A0800 00000001 00FFFFFFFFFF0000 A5",
    ),
    "socketcan": ([], "01000000 08 000000 00FFFFFFFFFF0000"),
}
"""Set-up frames and the frame "open at full force and speed" for id 1."""


@pytest.mark.parametrize("name", NAMES)
def test_setup_and_command_are_these_bytes(name: str) -> None:
    setup, command = FRAMES[name]
    host = load_kind(name).host(1)
    assert list(host.setup) == [bytes.fromhex(frame) for frame in setup]
    assert host.wrap(OPEN) == bytes.fromhex(command)


@pytest.mark.parametrize("name", NAMES)
def test_command_and_report_pass_unchanged_whatever_was_before(name: str) -> None:
    kind = load_kind(name)
    host, adapter = kind.host(1), kind.adapter(1)
    for frame in host.setup:
        adapter.feed(frame, 0.0)
    assert adapter.feed(host.wrap(OPEN), 1.0) == [OPEN]
    if name not in ("at", "socketcan"):  # neither checks a byte; records keep their borders
        assert host.feed(b"\x5a\xaa\x41\x41\x01junk") == []
    assert host.feed(adapter.wrap(REPORT)) == [REPORT]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("at", "socketcan")])
def test_bytes_may_come_one_by_one(name: str) -> None:
    kind = load_kind(name)
    host, adapter = kind.host(1), kind.adapter(1)
    frame = adapter.wrap(REPORT)
    payloads = [host.feed(frame[i : i + 1]) for i in range(len(frame))]
    assert payloads == [[]] * (len(frame) - 1) + [[REPORT]]


@pytest.mark.parametrize("name", ["rs485", "can_a", "ucanfd", "socketcan"])
def test_report_of_another_id_is_no_answer_and_named(name: str) -> None:
    kind = load_kind(name)
    host = kind.host(1)
    assert host.feed(kind.adapter(2).wrap(REPORT)) == []
    assert host.strangers == {2}


@pytest.mark.parametrize("name", ["at", "can_a", "ucanfd"])
def test_adapter_that_was_not_prepared_passes_nothing(name: str) -> None:
    kind = load_kind(name)
    assert kind.adapter(1).feed(kind.host(1).wrap(OPEN), 0.0) == []


def test_can_a_reads_standard_identifiers_too() -> None:
    frame = bytes.fromhex("AAC8 0100") + REPORT + b"\x55"
    assert load_kind("can_a").host(1).feed(frame) == [REPORT]


def test_heartbeat_of_ucanfd_is_passed_over() -> None:
    kind = load_kind("ucanfd")
    adapter = kind.adapter(1)
    beat = adapter.idle(10.0)
    assert (len(beat), beat[:2], beat[-1:]) == (17, b"\x5a\xff", b"\xa5")
    assert adapter.idle(10.5) == b""
    host = kind.host(1)
    assert host.feed(beat + adapter.wrap(REPORT)) == [REPORT]
    for frame in (beat, *host.setup):
        adapter.feed(frame, 11.0)
    assert adapter.feed(host.wrap(OPEN), 11.0) == [OPEN]


def test_remote_and_error_frames_of_the_bus_are_dropped() -> None:
    host = load_kind("socketcan").host(1)
    record = host.wrap(OPEN)
    flagged = record[:3] + bytes([record[3] | 0x40]) + record[4:]
    assert host.feed(flagged) == []
    assert host.feed(record[:4] + b"\x03" + record[5:]) == []
    assert host.feed(record[:9]) == []
    assert host.feed(record) == [OPEN]


@pytest.mark.parametrize("name", NAMES)
def test_gripper_behind_every_transport_moves_and_survives_a_pulled_plug(
    name: str, tmp_path: Path
) -> None:
    port = str(tmp_path / "gripper")
    emulated = EmulatedGripper(EmulatorConfig(port=port, transport=name), IdealPlant(0.5))
    emulated.start()
    client = GripperClient(ClientConfig(port=port, transport=name, reopen_wait=0.02))
    client.start()

    def reaches(condition: Callable[[GripperState], bool]) -> None:
        deadline = time.monotonic() + 5.0
        while not condition(client.state):
            assert time.monotonic() < deadline, client.state
            time.sleep(0.005)

    def at(ratio: float) -> Callable[[GripperState], bool]:
        return lambda s: s.report is not None and abs(s.report.position - ratio) < 0.01

    try:
        reaches(lambda s: s.target is not None)
        assert client.set_target(0.4)
        reaches(at(0.4))
        call(port, "line_fault", kind="noise", count=3)
        call(port, "unplug", seconds=0.05)
        reaches(lambda s: not s.connected)
        reaches(lambda s: s.target is not None)
        assert client.set_target(0.6)
        reaches(at(0.6))
    finally:
        client.stop()
        emulated.stop()


def test_interface_of_the_system_carries_the_same_records() -> None:
    try:
        bus = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
        bus.bind(("vcan0",))
    except (OSError, AttributeError) as error:
        pytest.skip(f"no vcan0 here: {error}")
    kind = load_kind("socketcan")
    with bus:
        link = kind.open_link("vcan0", 0)
        link.write(kind.host(1).wrap(OPEN))
        assert kind.adapter(1).feed(bus.recv(16), 0.0) == [OPEN]
        link.close()


def test_missing_can_interface_is_named() -> None:
    client = GripperClient(ClientConfig(port="can77", transport="socketcan"))
    client.start()
    deadline = time.monotonic() + 5.0
    while not client.state.error and time.monotonic() < deadline:
        time.sleep(0.005)
    error = client.state.error
    client.stop()
    assert error.startswith("gripper port can77 cannot be opened (")


def test_unknown_transport_and_impossible_id_are_refused(tmp_path: Path) -> None:
    values = yaml.safe_load(packaged_cell().read_text())
    values["grippers"]["left"]["transport"] = "rs232"
    file = tmp_path / "cell.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(ContractError, match=r"grippers.left.transport is 'rs232'; need one of"):
        load_cell(file)
    with pytest.raises(UsageError, match="device_id is 255; need 1 to 254"):
        GripperClient(ClientConfig(port="x", device_id=255))
