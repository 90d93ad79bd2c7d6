"""The V4L2 back end against a stand-in for OpenCV, which is an optional dependency."""

import struct
import sys
import threading
import time
import types
from typing import Any, ClassVar

import numpy as np
import pytest

from ate_core.errors import DeviceError, UsageError
from realsense_camera.backends import controls, make_backend, v4l2
from realsense_camera.backends.controls import GAIN, Control
from realsense_camera.camera import CameraSettings, Frame


def settings(serial: str = "/dev/video4", width: int = 32, **sensor: int | None) -> CameraSettings:
    return CameraSettings(
        role="overhead", serial=serial, backend="v4l2", width=width, height=18, fps=30, **sensor
    )


class FakeCapture:
    """Delivers three blue pictures (OpenCV's order is BGR) of 32x18."""

    made: ClassVar[list["FakeCapture"]] = []
    refused: ClassVar[set[tuple[str, float]]] = set()
    """Words of its switches that it does not take."""
    has_gain: ClassVar[bool] = False

    def __init__(self, path: str, api: int) -> None:
        self.path, self.left = path, 3
        self.released = threading.Event()
        self.values = {"width": 32.0, "height": 18.0}
        self.made.append(self)

    def isOpened(self) -> bool:
        return self.path == "/dev/video4"

    def set(self, name: str, value: float) -> bool:
        if name in ("width", "height") or (name == "gain" and not self.has_gain):
            return False  # it has one size
        if (name, value) in self.refused:
            return True  # OpenCV says so of some
        self.values[name] = value
        return True

    def get(self, name: str) -> float:
        return self.values.get(name, 0.0)

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        image = np.zeros((18, 32, 3), np.uint8)
        image[..., 0] = 255
        return (True, image) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.SimpleNamespace(
        VideoCapture=FakeCapture,
        CAP_V4L2=200,
        CAP_PROP_FRAME_WIDTH="width",
        CAP_PROP_FRAME_HEIGHT="height",
        CAP_PROP_FPS="fps",
        CAP_PROP_BUFFERSIZE="buffers",
        CAP_PROP_POS_MSEC="msec",
        CAP_PROP_AUTO_EXPOSURE="auto_exposure",
        CAP_PROP_EXPOSURE="exposure",
        CAP_PROP_GAIN="gain",
        CAP_PROP_AUTO_WB="auto_wb",
        CAP_PROP_WB_TEMPERATURE="wb",
        COLOR_BGR2RGB=4,
        cvtColor=lambda image, code: np.ascontiguousarray(image[..., ::-1]),
    )
    monkeypatch.setitem(sys.modules, "cv2", fake)


def test_frames_arrive_in_rgb_and_are_counted(opencv: None) -> None:
    frames: list[tuple[int, list[int]]] = []
    done = threading.Event()

    def take(frame: Frame) -> None:
        frames.append((frame.number, frame.image[0, 0].tolist()))
        if len(frames) == 3:
            done.set()

    backend = make_backend(settings())
    assert backend.open(take) is None
    assert done.wait(5.0)
    backend.close()
    assert frames == [(1, [0, 0, 255]), (2, [0, 0, 255]), (3, [0, 0, 255])]


def open_and_close(chosen: CameraSettings) -> dict[str, float]:
    backend = make_backend(chosen)
    backend.open(lambda frame: None)
    backend.close()
    return FakeCapture.made[-1].values


def test_sensor_is_left_to_itself_or_fixed(opencv: None) -> None:
    left = open_and_close(settings())
    assert (left["auto_exposure"], left["auto_wb"]) == (3.0, 1.0)
    fixed = open_and_close(settings(exposure_us=8000, white_balance_k=4600))
    assert (fixed["auto_exposure"], fixed["exposure"]) == (1.0, 80.0)
    assert (fixed["auto_wb"], fixed["wb"]) == (0.0, 4600.0)


def test_setting_that_the_device_does_not_take_is_named(opencv: None) -> None:
    with pytest.raises(DeviceError, match=r"did not take gain 16, it stays at 0.*list-ctrls"):
        make_backend(settings(exposure_us=8000, gain=16)).open(lambda frame: None)
    assert FakeCapture.made[-1].released.is_set()


@pytest.mark.parametrize("exposure_us", [None, 8000])
def test_gain_that_is_not_given_is_the_device_s_default(
    opencv: None, monkeypatch: pytest.MonkeyPatch, exposure_us: int | None
) -> None:
    control = Control(low=0, high=128, step=1, default=64)
    monkeypatch.setattr(v4l2, "query_control", lambda _, number: {GAIN: control}.get(number))
    monkeypatch.setattr(FakeCapture, "has_gain", True)
    assert open_and_close(settings(exposure_us=exposure_us))["gain"] == 64.0


def test_default_gain_that_cannot_be_set_is_told(
    opencv: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    control = Control(low=0, high=128, step=1, default=64)
    monkeypatch.setattr(v4l2, "query_control", lambda _, number: {GAIN: control}.get(number))
    open_and_close(settings())
    assert "gain of /dev/video4 is not set to its default 64, it stays at 0" in caplog.text


def test_switch_that_the_device_does_not_take_is_refused_or_told(
    opencv: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(FakeCapture, "refused", {("auto_exposure", 1.0)})
    with pytest.raises(DeviceError, match=r"exposure_us is 8000, but .* stays automatic \(mode 0"):
        make_backend(settings(exposure_us=8000)).open(lambda frame: None)
    assert FakeCapture.made[-1].released.is_set()
    monkeypatch.setattr(FakeCapture, "refused", {("auto_exposure", 3.0)})
    assert open_and_close(settings())["auto_exposure"] == 0.0  # V4L2's other automatic
    assert "does not become automatic" not in caplog.text
    monkeypatch.setattr(FakeCapture, "refused", {("auto_exposure", 3.0), ("auto_exposure", 0.0)})
    open_and_close(settings())
    assert "exposure_us of /dev/video4 does not become automatic (mode 1)" in caplog.text


@pytest.mark.parametrize("asked", [99, 149, 8030])
def test_exposure_between_two_steps_is_the_nearest_and_told(
    opencv: None, caplog: pytest.LogCaptureFixture, asked: int
) -> None:
    assert open_and_close(settings(exposure_us=asked))["exposure"] == round(asked / 100)
    assert f"exposure_us is {asked}, which this camera does not have" in caplog.text


def test_value_outside_the_device_s_range_is_refused(
    opencv: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = Control(low=3, high=2047, step=1, default=250)
    monkeypatch.setattr(v4l2, "query_control", lambda *_: control)
    with pytest.raises(DeviceError, match="exposure_us is 100; this camera needs 300 to 204700"):
        make_backend(settings(exposure_us=100)).open(lambda frame: None)
    assert FakeCapture.made[-1].released.is_set()


@pytest.mark.parametrize(
    ("flags", "control"), [(0, Control(low=0, high=255, step=1, default=64)), (1, None), (4, None)]
)
def test_control_is_asked_for_by_the_kernel_s_call(
    tmp_path, monkeypatch: pytest.MonkeyPatch, flags: int, control: Control | None
) -> None:
    def answer(device: int, request: int, asked: bytearray) -> None:
        assert (len(asked), request) == (68, 0xC0445624)
        assert struct.unpack_from("=I", asked) == (GAIN,)
        struct.pack_into("=iiiiI", asked, 40, 0, 255, 1, 64, flags)

    monkeypatch.setattr(controls.fcntl, "ioctl", answer)
    device = tmp_path / "video4"
    device.touch()
    assert controls.query_control(str(device), GAIN) == control
    assert controls.query_control(str(tmp_path / "absent"), GAIN) is None


def test_other_size_than_the_cell_wants_is_refused(opencv: None) -> None:
    with pytest.raises(DeviceError, match="delivers 32x18, the cell wants 960x18"):
        make_backend(settings(width=960)).open(lambda frame: None)


def test_absent_device_is_named(opencv: None) -> None:
    with pytest.raises(DeviceError, match="/dev/video9 cannot be opened"):
        make_backend(settings("/dev/video9")).open(lambda frame: None)


def test_missing_device_path_is_refused(opencv: None) -> None:
    with pytest.raises(UsageError, match="needs the path of its video device"):
        make_backend(settings(""))


def test_missing_opencv_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(DeviceError, match=r"opencv-python-headless.*L515"):
        make_backend(settings())


@pytest.mark.parametrize("age_s", [0.02, 0.99, 1.01, 1.5])
def test_picture_that_waited_in_the_kernel_stays_old(
    opencv: None, monkeypatch: pytest.MonkeyPatch, age_s: float
) -> None:
    def get(self: FakeCapture, name: str) -> float:
        driver_ms = 1e3 * (time.monotonic() - age_s)
        return driver_ms if name == "msec" else self.values.get(name, 0.0)

    monkeypatch.setattr(FakeCapture, "get", get)
    ages: list[float] = []
    done = threading.Event()

    def take(frame: Frame) -> None:
        ages.append((time.time_ns() - frame.stamp_ns) / 1e9)
        if len(ages) == 3:
            done.set()

    backend = make_backend(settings())
    backend.open(take)
    assert done.wait(5.0)
    backend.close()
    assert all(age_s - 0.001 <= age < age_s + 1.0 for age in ages)


def test_picture_of_a_driver_with_another_clock_is_stamped_at_its_arrival(opencv: None) -> None:
    stamps: list[int] = []
    before = time.time_ns()
    backend = make_backend(settings())
    backend.open(lambda frame: stamps.append(frame.stamp_ns))
    assert FakeCapture.made[-1].released.wait(5.0)
    backend.close()
    assert len(stamps) == 3 and all(before <= stamp <= time.time_ns() for stamp in stamps)
