"""Frames through librealsense itself, by its software device."""

import dataclasses
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ate_core.errors import DeviceError
from ate_recorder.device_facts import DeviceFacts
from realsense_camera.backends.sdk import SensorStream, load_sdk, set_sensor_options
from realsense_camera.backends.software import SoftwareColorDevice, pinhole
from realsense_camera.camera import CameraSettings, Frame
from realsense_camera.emulator import PatternCamera, draw_pattern
from realsense_camera.emulator.pattern import read_number
from realsense_camera.stream import CameraStream, StreamConfig

try:
    SDK = load_sdk()
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)

from realsense_camera.backends.realsense import RealsenseBackend
from realsense_camera.backends.software import SoftwareBackend

HEIGHT, WIDTH = 90, 160


@pytest.fixture
def settings(tmp_path: Path) -> CameraSettings:
    return CameraSettings(
        role="overhead",
        serial="overhead",
        backend="software",
        width=WIDTH,
        height=HEIGHT,
        fps=30,
        fovy=48.0,
        frame_path=tmp_path / "frame_overhead.image",
    )


@pytest.fixture
def camera(settings: CameraSettings) -> Iterator[PatternCamera]:
    assert settings.frame_path is not None
    camera = PatternCamera(settings.frame_path, HEIGHT, WIDTH)
    yield camera
    camera.close()


class Taken:
    """Keeps what a stream hands over."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.drawn: list[int] = []
        self.delays_ms: list[float] = []
        self.threads: set[int] = set()

    def __call__(self, frame: Frame) -> None:
        self.numbers.append(frame.number)
        self.drawn.append(read_number(frame.image))
        self.delays_ms.append((time.time_ns() - frame.stamp_ns) / 1e6)
        self.threads.add(threading.get_ident())


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not reached within {seconds} s"
        time.sleep(0.002)


def test_pictures_keep_number_content_and_time(
    settings: CameraSettings, camera: PatternCamera
) -> None:
    taken, backend = Taken(), SoftwareBackend(settings)
    intrinsics = backend.open(taken)
    for number in (1, 2, 5, 300):
        camera.show(number)
        wait_for(lambda number=number: taken.numbers[-1:] == [number])
    backend.close()
    assert taken.numbers == taken.drawn == [1, 2, 5, 300]
    assert all(0.0 <= delay < 200.0 for delay in taken.delays_ms)
    assert intrinsics is not None
    assert intrinsics.fy == pytest.approx(pinhole(WIDTH, HEIGHT, 48.0).fy)
    assert intrinsics.ppx == WIDTH / 2


def test_nothing_is_handed_over_after_close(
    settings: CameraSettings, camera: PatternCamera
) -> None:
    taken, backend = Taken(), SoftwareBackend(settings)
    backend.open(taken)
    camera.show(1)
    wait_for(lambda: taken.numbers == [1])
    backend.close()
    camera.show(2)
    backend.open(taken)
    camera.show(3)
    wait_for(lambda: 3 in taken.numbers)
    backend.close()
    assert taken.numbers == [1, 3]


def test_missing_renderer_is_named(settings: CameraSettings) -> None:
    with pytest.raises(DeviceError, match="start the simulated cell first"):
        SoftwareBackend(settings).open(lambda frame: None)


def test_stream_follows_a_restarted_renderer_and_counts_gaps(
    settings: CameraSettings, camera: PatternCamera
) -> None:
    taken = Taken()
    quick = StreamConfig(silence_limit=0.2, retry_wait=0.05, check_period=0.02)
    stream = CameraStream(SoftwareBackend(settings), taken, quick)
    stream.start()
    try:
        wait_for(lambda: stream.stats(time.monotonic()).openings == 1)
        camera.show(1)
        wait_for(lambda: taken.numbers == [1])
        camera.show(4)
        wait_for(lambda: taken.numbers == [1, 4])
        camera.repeat()
        wait_for(lambda: stream.stats(time.monotonic()).repeats == 1)
        camera.close()
        wait_for(lambda: "start the simulated cell" in stream.stats(time.monotonic()).error)
        camera.__init__(settings.frame_path, HEIGHT, WIDTH)  # type: ignore[misc]
        numbers = iter(range(1, 10_000))

        def shown() -> bool:
            camera.show(next(numbers))
            return stream.stats(time.monotonic()).frames > 4

        wait_for(shown)
    finally:
        stream.stop()
    assert stream.stats(time.monotonic()).gaps >= 2
    assert taken.numbers == taken.drawn


def test_realsense_back_end_finds_its_camera_by_serial(settings: CameraSettings) -> None:
    device = SoftwareColorDevice(SDK, settings)
    context = types.SimpleNamespace(query_devices=lambda: [device.device])
    taken = Taken()
    backend = RealsenseBackend(settings, context)
    backend.open(taken)
    record = np.zeros(1, [("time_ns", "i8"), ("sequence", "i8"), ("image", "u1", (90, 160, 3))])
    record["image"], record["sequence"] = draw_pattern(HEIGHT, WIDTH, 77), 77
    record["time_ns"] = time.monotonic_ns()
    device.inject(record[0])
    wait_for(lambda: bool(taken.numbers))
    backend.close()
    assert taken.numbers == taken.drawn == [77]


def test_a_camera_tells_model_firmware_and_serial_for_each_episode(
    settings: CameraSettings,
) -> None:
    device = SoftwareColorDevice(SDK, settings)
    device.device.register_info(SDK.camera_info.firmware_version, "5.17.0.10")
    context = types.SimpleNamespace(query_devices=lambda: [device.device])
    stream = CameraStream(RealsenseBackend(settings, context), Taken())
    assert stream.identity == {}
    stream.start()
    try:
        wait_for(lambda: bool(stream.identity))
    finally:
        stream.stop()
    told = {"model": "Simulated camera", "firmware": "5.17.0.10", "serial": "overhead"}
    assert stream.identity == told
    facts = DeviceFacts()
    facts.hear("camera_node: overhead", "overhead", stream.identity)
    assert facts.as_dict() == {"camera_node: overhead": {"hardware_id": "overhead", **told}}


class FakeSensor:
    """The options of a colour sensor (steps of 100 us) or of a D405's stereo sensor (1 us).

    As in librealsense, a gain that is set ends the automatic exposure.
    """

    def __init__(self, is_color: bool, stuck: tuple[object, ...] = ()) -> None:
        self.is_color, self.values, self.stuck = is_color, {SDK.option.gain: 128.0}, stuck

    def is_color_sensor(self) -> bool:
        return self.is_color

    def supports(self, option) -> bool:
        return option != SDK.option.white_balance

    def get_option_range(self, option):
        most = 10_000.0 if self.is_color else 165_000.0
        return types.SimpleNamespace(min=1.0, max=most, step=1.0, default=64.0)

    def set_option(self, option, value: float) -> None:
        if option in self.stuck:
            return
        self.values[option] = value
        if option == SDK.option.gain:
            self.values[SDK.option.enable_auto_exposure] = 0.0

    def get_option(self, option) -> float:
        return self.values.get(option, 0.0)


@pytest.mark.parametrize(("is_color", "exposure"), [(True, 80.0), (False, 8000.0)])
def test_exposure_reaches_the_sensor_in_its_own_unit(settings, is_color, exposure) -> None:
    sensor = FakeSensor(is_color)
    set_sensor_options(SDK, sensor, dataclasses.replace(settings, exposure_us=8000, gain=16))
    assert sensor.values[SDK.option.enable_auto_exposure] == 0.0
    assert sensor.values[SDK.option.enable_auto_white_balance] == 1.0
    assert (sensor.values[SDK.option.exposure], sensor.values[SDK.option.gain]) == (exposure, 16.0)


@pytest.mark.parametrize(
    ("sensor", "words"),
    [
        ({"exposure_us": 30_000, "gain": 0}, "gain is 0; this camera needs 1 to 165000"),
        ({"white_balance_k": 4600}, "white_balance_k is 4600, but its colour sensor has no such"),
    ],
)
def test_setting_outside_the_camera_s_range_is_refused(settings, sensor, words) -> None:
    with pytest.raises(DeviceError, match=words):
        set_sensor_options(SDK, FakeSensor(False), dataclasses.replace(settings, **sensor))


def sdk_frame(domain: str, age_ns: int, image: np.ndarray) -> types.SimpleNamespace:
    taken_ns = time.time_ns() - age_ns
    return types.SimpleNamespace(
        get_frame_timestamp_domain=lambda: getattr(SDK.timestamp_domain, domain),
        get_timestamp=lambda: taken_ns / 1e6,
        get_frame_number=lambda: 1,
        get_data=lambda: image,
    )


@pytest.mark.parametrize("domain", ["global_time", "system_time"])
@pytest.mark.parametrize("age_s", [0.02, 0.99, 1.01, 1.5])
def test_picture_that_waited_in_the_sdk_stays_old(settings, domain: str, age_s: float) -> None:
    device, frames = SoftwareColorDevice(SDK, settings), []
    stream = SensorStream(SDK, device.sensor, device.profile, frames.append)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stream._take(sdk_frame(domain, round(age_s * 1e9), image))
    stamped_s = (time.time_ns() - frames[0].stamp_ns) / 1e9
    stream.close()
    assert age_s - 0.001 <= stamped_s < age_s + 1.0


def test_picture_on_the_camera_s_own_clock_is_stamped_at_its_arrival(settings) -> None:
    device, frames = SoftwareColorDevice(SDK, settings), []
    stream = SensorStream(SDK, device.sensor, device.profile, frames.append)
    before = time.time_ns()
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stream._take(sdk_frame("hardware_clock", 1_500_000_000, image))
    stream.close()
    assert before <= frames[0].stamp_ns <= time.time_ns()


@pytest.mark.parametrize("exposure_us", [None, 8000])
def test_gain_that_is_not_given_is_the_camera_s_default(settings, exposure_us) -> None:
    sensor = FakeSensor(True)  # the program before has left a gain of 128
    set_sensor_options(SDK, sensor, dataclasses.replace(settings, exposure_us=exposure_us))
    assert sensor.values[SDK.option.gain] == 64.0
    assert sensor.values[SDK.option.enable_auto_exposure] == float(exposure_us is None)


@pytest.mark.parametrize(
    ("is_color", "asked", "steps"),
    [(True, 99, 1.0), (True, 149, 1.0), (True, 199, 2.0), (True, 8030, 80.0), (False, 99, 99.0)],
)
def test_exposure_between_two_steps_is_the_nearest_and_told(
    settings, caplog: pytest.LogCaptureFixture, is_color: bool, asked: int, steps: float
) -> None:
    sensor = FakeSensor(is_color)
    set_sensor_options(SDK, sensor, dataclasses.replace(settings, exposure_us=asked))
    assert sensor.values[SDK.option.exposure] == steps
    told = f"exposure_us is {asked}, which this camera does not have: it is set to {steps * 100:g}"
    assert (told in caplog.text) == is_color


def test_exposure_shorter_than_any_step_is_refused(settings) -> None:
    with pytest.raises(DeviceError, match=r"exposure_us is 8; .* 100 to 1000000 in steps of 100"):
        set_sensor_options(SDK, FakeSensor(True), dataclasses.replace(settings, exposure_us=8))


@pytest.mark.parametrize("option", ["gain", "exposure", "enable_auto_exposure"])
def test_setting_that_the_camera_does_not_take_is_refused(settings, option: str) -> None:
    sensor = FakeSensor(True, stuck=(getattr(SDK.option, option),))
    sensor.values[SDK.option.enable_auto_exposure] = 1.0
    asked = dataclasses.replace(settings, exposure_us=8000, gain=16)
    with pytest.raises(DeviceError, match=r"it stays at (128|0|1)\): leave"):
        set_sensor_options(SDK, sensor, asked)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("gain", "gain is not set to its default 64 (it stays at 128)"),
        ("enable_auto_exposure", "exposure_us does not become automatic (it stays at 0)"),
    ],
)
def test_default_that_cannot_be_set_is_told(
    settings, caplog: pytest.LogCaptureFixture, option: str, words: str
) -> None:
    set_sensor_options(SDK, FakeSensor(True, stuck=(getattr(SDK.option, option),)), settings)
    assert words in caplog.text


def test_absent_camera_tells_the_story_of_the_l515(settings: CameraSettings) -> None:
    backend = RealsenseBackend(settings)
    with pytest.raises(DeviceError, match=r"'overhead' is not connected.*L515.*v4l2.*2\.54\.2"):
        backend.open(lambda frame: None)


def test_a_camera_without_a_serial_beside_others_is_told_to_be_named(settings) -> None:
    def device(serial: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(supports=lambda _: True, get_info=lambda _: serial)

    context = types.SimpleNamespace(query_devices=lambda: [device("218"), device("127")])
    unnamed = dataclasses.replace(settings, serial="")
    with pytest.raises(
        DeviceError, match=r"overhead has no serial, and 2 cameras are connected \(127, 218\)"
    ):
        RealsenseBackend(unnamed, context).open(lambda frame: None)


def test_stream_that_the_camera_lacks_is_named(settings: CameraSettings) -> None:
    device = SoftwareColorDevice(SDK, settings)
    context = types.SimpleNamespace(query_devices=lambda: [device.device])
    other = CameraSettings(
        role="overhead", serial="overhead", backend="realsense", width=960, height=540, fps=30
    )
    with pytest.raises(DeviceError, match="no rgb8 stream 960x540@30: set one of 160x90@30"):
        RealsenseBackend(other, context).open(lambda frame: None)


def test_missing_system_library_gives_the_apt_command(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuse:
        """An import that fails as the wheel does without libusb."""

        def find_spec(self, name: str, path: object, target: object = None) -> None:
            if name == "pyrealsense2":
                raise ImportError("libusb-1.0.so.0: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "pyrealsense2")
    monkeypatch.setattr(sys, "meta_path", [Refuse(), *sys.meta_path])
    with pytest.raises(DeviceError, match=r"sudo apt-get install libusb-1\.0-0"):
        load_sdk()


def test_pattern_carries_its_number() -> None:
    assert [read_number(draw_pattern(270, 480, n)) for n in (0, 1, 4095, 65535)] == [
        0,
        1,
        4095,
        65535,
    ]
