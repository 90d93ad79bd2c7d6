"""The Joy-Con reader, through the unmodified pyjoycon, against emulated controllers."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ate_core.errors import DeviceError
from operator_devices import joycon
from operator_devices.joycon_emulator import JoyConEmulator, standin_path
from operator_devices.joycon_report import StickCalibration
from operator_devices.rumble import Buzz

SERIAL = "02:00:00:00:0a:01"
OTHER = "02:00:00:00:0a:02"

OpenReader = Callable[..., joycon.JoyConReader]


def wait_until(condition: Callable[[], object], timeout: float = 5.0) -> None:
    deadline = time.monotonic() + timeout
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        tick.wait(0.002)


def forget_libraries() -> None:
    for name in list(sys.modules):
        if name.split(".")[0] in ("hid", "pyjoycon") or name.endswith("joycon_device"):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """pyjoycon finds the stand-in `hid`, and the stand-in this test's controllers."""
    forget_libraries()
    monkeypatch.syspath_prepend(str(standin_path()))
    monkeypatch.setenv("ATE_HID_DIR", str(tmp_path))
    yield tmp_path
    forget_libraries()


@pytest.fixture
def controller(stand_in: Path) -> Iterator[JoyConEmulator]:
    with JoyConEmulator(SERIAL, "right", stand_in) as emulator:
        yield emulator


@pytest.fixture
def open_reader() -> Iterator[OpenReader]:
    readers = []

    def open_one(serial: str = SERIAL, side: joycon.Side = "right") -> joycon.JoyConReader:
        config = joycon.JoyConConfig(serial=serial, side=side, reconnect_pause=0.05)
        readers.append(joycon.JoyConReader(config))
        readers[-1].start()
        return readers[-1]

    yield open_one
    for reader in readers:
        reader.stop()


def is_pressed(reader: joycon.JoyConReader, button: str) -> bool:
    state = reader.latest()
    return state is not None and state.pressed(button)


@pytest.mark.parametrize("side", ["left", "right"])
def test_every_button_is_seen_pressed_and_released(
    stand_in: Path, open_reader: OpenReader, side: joycon.Side
) -> None:
    with JoyConEmulator(OTHER, side, stand_in) as emulator:
        reader = open_reader(OTHER, side)
        wait_until(lambda: reader.connected)
        for button in joycon.BUTTONS:
            emulator.press(button)
            wait_until(lambda b=button: is_pressed(reader, b))
            assert sum(reader.latest().buttons) == 1
            emulator.release(button)
            wait_until(lambda b=button: not is_pressed(reader, b))


def test_the_stick_is_calibrated_and_the_battery_is_a_ratio(
    controller: JoyConEmulator, open_reader: OpenReader
) -> None:
    controller.set_battery(0.75, charging=True)
    reader = open_reader()
    wait_until(lambda: reader.connected)
    state = reader.latest()
    assert (state.axes, state.battery, state.charging) == ((0.0, 0.0), 0.75, True)
    controller.set_stick(1.0, -0.5)
    wait_until(lambda: reader.latest().axes[0] > 0.0)
    assert reader.latest().axes == pytest.approx((1.0, -0.5), abs=2e-3)


def test_nothing_is_told_before_the_first_full_report(
    controller: JoyConEmulator, open_reader: OpenReader
) -> None:
    controller.mute()
    reader = open_reader()
    wait_until(lambda: "connected" in reader.status or "silent" in reader.status)
    assert reader.latest() is None
    controller.mute(False)
    wait_until(lambda: reader.connected)


def test_a_dropped_controller_is_released_at_once_and_comes_back(
    controller: JoyConEmulator, open_reader: OpenReader
) -> None:
    reader = open_reader()
    wait_until(lambda: reader.connected)
    controller.press("zr")
    wait_until(lambda: is_pressed(reader, "zr"))
    session = reader.latest().session
    controller.drop()
    wait_until(lambda: not is_pressed(reader, "zr"), timeout=0.15)
    assert not reader.connected
    controller.restore()
    wait_until(lambda: reader.connected)
    assert reader.latest().session > session
    assert is_pressed(reader, "zr")  # the finger is still on it


def test_a_silent_controller_is_released_within_the_stale_limit(
    controller: JoyConEmulator, open_reader: OpenReader
) -> None:
    reader = open_reader()
    controller.press("zr")
    wait_until(lambda: is_pressed(reader, "zr"))
    controller.mute()
    wait_until(lambda: not is_pressed(reader, "zr"), timeout=0.25)
    assert not reader.connected
    controller.mute(False)
    wait_until(lambda: is_pressed(reader, "zr"))


def test_two_controllers_of_one_side_are_kept_apart(
    stand_in: Path, controller: JoyConEmulator, open_reader: OpenReader
) -> None:
    with JoyConEmulator(OTHER, "right", stand_in) as other:
        first, second = open_reader(SERIAL), open_reader(OTHER)
        wait_until(lambda: first.connected and second.connected)
        other.press("r")
        wait_until(lambda: is_pressed(second, "r"))
        assert not is_pressed(first, "r")
        controller.press("a")
        wait_until(lambda: is_pressed(first, "a"))
        assert not is_pressed(second, "a")


def test_a_controller_of_the_other_side_is_named(
    controller: JoyConEmulator, open_reader: OpenReader
) -> None:
    reader = open_reader(SERIAL, "left")
    wait_until(lambda: "Joy-Con (R)" in reader.status)
    assert reader.latest() is None


def test_lamps_reach_the_controller_and_return_after_a_reconnect(
    controller: JoyConEmulator, open_reader: OpenReader
) -> None:
    reader = open_reader()
    reader.set_lamps(0b0011)
    wait_until(lambda: controller.lamps == 0b0011)
    reader.set_lamps(0b0010)
    wait_until(lambda: controller.lamps == 0b0010)
    controller.drop()
    wait_until(lambda: not reader.connected)
    controller.restore()
    wait_until(lambda: controller.lamps == 0b0010)
    reader.stop()
    wait_until(lambda: controller.lamps == 0)


def test_foreign_answers_and_a_blank_flash_do_not_matter(
    controller: JoyConEmulator, open_reader: OpenReader
) -> None:
    controller.send_foreign_answers()
    controller.blank_calibration()
    reader = open_reader()
    wait_until(lambda: reader.connected)
    controller.press("plus")
    wait_until(lambda: is_pressed(reader, "plus"))


def test_a_controller_that_answers_nothing_is_given_up_and_tried_again(
    controller: JoyConEmulator, open_reader: OpenReader
) -> None:
    controller.refuse_answers()
    reader = open_reader()
    wait_until(lambda: "no answer to subcommand" in reader.status, timeout=2.0)
    controller.refuse_answers(False)
    wait_until(lambda: reader.connected)


def test_ten_openings_in_a_row_succeed(controller: JoyConEmulator) -> None:
    """pyjoycon itself fails at one start in a hundred, by a chance value of the timer byte."""
    device_class = joycon.load_device_class()
    for _ in range(10):
        device = device_class("right", SERIAL, lambda *_: None, lambda _: None)
        device.close()


def test_an_absent_controller_blocks_nothing(open_reader: OpenReader) -> None:
    reader = open_reader("02:00:00:00:0a:ff")
    wait_until(lambda: "not found" in reader.status)
    assert reader.latest() is None
    start = time.monotonic()
    reader.stop()
    assert time.monotonic() - start < 1.0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_unmodified_pyjoycon_reads_the_emulated_controller(controller: JoyConEmulator) -> None:
    joycon.load_device_class()
    import pyjoycon

    assert pyjoycon.get_R_ids() == [(0x057E, 0x2007, SERIAL)]
    plain = pyjoycon.JoyCon(*pyjoycon.get_R_id())
    controller.press("zr")
    wait_until(plain.get_button_zr)
    assert plain.get_battery_level() == 4
    assert plain.color_body == (0x0A, 0xB9, 0xE6)
    plain.set_player_lamp(0b1000_0010)
    wait_until(lambda: (controller.lamps, controller.flashing) == (0b0010, 0b1000))
    controller.drop()  # its reading thread ends on the error
    plain._update_input_report_thread.join(timeout=2.0)


def test_without_the_stand_in_pyjoycon_gets_hidraw() -> None:
    """hidapi's own `hid` uses libusb, which sees no Bluetooth controller."""
    pytest.importorskip("hidraw", reason="hidapi is not installed")
    program = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "from operator_devices.joycon import load_device_class\n"
        "load_device_class(); import hid, pyjoycon; print(hid.__name__)"
    )
    path = [entry for entry in sys.path if entry != str(standin_path())]
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=20.0,
        check=False,
    )
    assert (result.stdout.strip(), result.stderr) == ("hidraw", "")


def test_a_second_emulator_of_one_serial_is_refused(
    controller: JoyConEmulator, stand_in: Path
) -> None:
    with pytest.raises(DeviceError, match="not in use"):
        JoyConEmulator(SERIAL, "right", stand_in).start()


def test_lamps_flash_beside_those_that_are_lit_and_both_end(
    controller: JoyConEmulator, open_reader: OpenReader
) -> None:
    reader = open_reader()
    wait_until(lambda: reader.connected)
    reader.set_lamps(0b0010, 0b1010)
    wait_until(lambda: (controller.lamps, controller.flashing) == (0b0010, 0b1000))
    reader.set_lamps(0, 0b0001)
    wait_until(lambda: (controller.lamps, controller.flashing) == (0, 0b0001))
    for on, flashing in ((16, 0), (0, 16), (-1, 0)):
        with pytest.raises(ValueError, match=r"must be 0 \.\. 15"):
            reader.set_lamps(on, flashing)
    reader.stop()
    wait_until(lambda: controller.flashing == 0)


def test_a_pattern_is_felt_tone_by_tone_and_ends_although_lamps_are_written_meanwhile(
    controller: JoyConEmulator, open_reader: OpenReader
) -> None:
    reader = open_reader()
    wait_until(lambda: reader.connected)
    strong, weak = Buzz(amplitude=0.9, frequency=100.0), Buzz(amplitude=0.4, frequency=400.0)
    reader.rumble(((strong, 0.3), (weak, 0.3)))
    reader.set_lamps(0b0101)
    wait_until(lambda: len(controller.felt) >= 4)
    felt = [round(buzz.amplitude, 1) for buzz in controller.felt]
    assert felt == [0.0, 0.9, 0.4, 0.0]
    assert controller.lamps == 0b0101


def test_what_was_pressed_for_a_moment_is_told_by_later_states_too(
    controller: JoyConEmulator, open_reader: OpenReader
) -> None:
    reader = open_reader()

    def told() -> list[set[str]]:
        state = reader.latest()
        assert state is not None
        return [
            {name for name, down in zip(joycon.BUTTONS, flags, strict=True) if down}
            for _, flags in state.changes
        ]

    wait_until(lambda: reader.connected)
    controller.mute()
    for held in ((), ("x",), ("x", "b"), ("x", "b"), ()):  # all at once, as after a hiccup
        controller.hold(held)
        controller.send_report()
    wait_until(lambda: len(told()) >= 4)
    assert told() == [set(), {"x"}, {"x", "b"}, set()]
    wait_until(lambda: not reader.connected)  # and a silence forgets nothing
    assert told() == [set(), {"x"}, {"x", "b"}, set()]


@pytest.mark.parametrize("stick", [(0.0, 0.0), (0.01, -0.01), (0.5, -0.5), (1.0, -1.0)])
def test_a_stick_comes_back_from_its_raw_readings(stick: tuple[float, float]) -> None:
    calibration = StickCalibration(centre=(1990, 2120), above=(1250, 1300), below=(1350, 1280))
    assert calibration.normalise(calibration.raw(stick)) == pytest.approx(stick, abs=1e-3)


def test_a_stick_beside_its_centre_is_at_rest_and_its_way_begins_there() -> None:
    calibration = StickCalibration()
    rests = [calibration.normalise((2048 + raw, 2048 - raw)) for raw in range(-280, 281)]
    assert set(rests) == {(0.0, 0.0)}
    horizontal, vertical = calibration.normalise((2048 + 300, 2048 - 300))
    assert 0.0 < horizontal < 0.03 and -0.03 < vertical < 0.0


def test_a_controller_that_repeats_its_last_report_is_released_like_a_silent_one(
    controller: JoyConEmulator, open_reader: OpenReader
) -> None:
    reader = open_reader()
    controller.press("r")
    wait_until(lambda: is_pressed(reader, "r"))
    first = reader.latest().received_ns
    wait_until(lambda: reader.latest().received_ns > first)
    controller.freeze()
    wait_until(lambda: not reader.connected, timeout=0.5)
    assert not is_pressed(reader, "r")
    wait_until(lambda: "no new report" in reader.status, timeout=2.0)
    controller.freeze(False)
    wait_until(lambda: is_pressed(reader, "r"))
