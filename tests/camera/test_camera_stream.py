"""Counting, dropping and reconnecting, without a camera library."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import DeviceError, UsageError
from realsense_camera.backends import make_backend
from realsense_camera.camera import CameraSettings, Frame, FrameHandler, Intrinsics
from realsense_camera.health import camera_health
from realsense_camera.stream import CameraStream, FrameCounter, StreamConfig, StreamStats

IMAGE = np.zeros((4, 4, 3), np.uint8)
FAST = StreamConfig(silence_limit=0.1, retry_wait=0.02, check_period=0.01)


class ScriptedBackend:
    """A back end whose frames are given by the test."""

    def __init__(self) -> None:
        self.failures = 0
        self.openings = 0
        self.on_frame: FrameHandler | None = None

    def open(self, on_frame: FrameHandler) -> Intrinsics | None:
        if self.failures:
            self.failures -= 1
            raise DeviceError("camera is not connected")
        self.openings += 1
        self.on_frame = on_frame
        return None

    def close(self) -> None:
        self.on_frame = None

    def give(self, number: int, stamp_ns: int) -> None:
        if self.on_frame is not None:
            self.on_frame(Frame(image=IMAGE, number=number, stamp_ns=stamp_ns))


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
def taken() -> list[int]:
    return []


@pytest.fixture
def stream(backend: ScriptedBackend, taken: list[int]) -> Iterator[CameraStream]:
    stream = CameraStream(backend, lambda frame: taken.append(frame.number), FAST)
    yield stream
    stream.stop()


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not reached within {seconds} s"
        time.sleep(0.002)


def test_skipped_numbers_are_counted_as_gaps() -> None:
    counter = FrameCounter()
    for index, number in enumerate([10, 11, 14, 15]):
        assert counter.take(number, stamp_ns=index, now=index / 10)
    stats = counter.stats(now=0.5)
    assert (stats.frames, stats.gaps, stats.repeats) == (4, 2, 0)
    assert stats.rate == pytest.approx(10.0)
    assert stats.age == pytest.approx(0.2)


def test_same_number_or_same_stamp_is_a_repeat() -> None:
    counter = FrameCounter()
    assert counter.take(1, stamp_ns=100, now=0.0)
    assert not counter.take(1, stamp_ns=200, now=0.1)
    assert not counter.take(2, stamp_ns=100, now=0.2)
    assert counter.stats(0.3).repeats == 2
    assert counter.stats(0.3).age == pytest.approx(0.3), "a repeat does not make the stream fresh"


def test_camera_that_counts_anew_makes_no_gap() -> None:
    counter = FrameCounter()
    counter.take(500, stamp_ns=1, now=0.0)
    assert counter.take(1, stamp_ns=2, now=0.1)
    counter.restart()
    assert counter.take(90, stamp_ns=3, now=0.2)
    assert counter.stats(0.2).gaps == 0


def test_absent_camera_is_awaited(
    backend: ScriptedBackend, stream: CameraStream, taken: list[int]
) -> None:
    backend.failures = 3
    stream.start()
    wait_for(lambda: "not connected" in stream.stats(time.monotonic()).error)
    wait_for(lambda: stream.stats(time.monotonic()).openings == 1)
    backend.give(1, 1)
    assert taken == [1]
    assert stream.stats(time.monotonic()).error == ""


def test_silent_camera_is_opened_again(
    backend: ScriptedBackend, stream: CameraStream, taken: list[int]
) -> None:
    stream.start()
    wait_for(lambda: stream.stats(time.monotonic()).openings == 1)
    backend.give(7, 7)
    wait_for(lambda: stream.stats(time.monotonic()).openings == 2)
    assert "no frame for 0.1 s" in stream.stats(time.monotonic()).error
    backend.give(8, 8)
    assert taken == [7, 8]


def test_camera_that_only_repeats_is_opened_again(
    backend: ScriptedBackend, stream: CameraStream, taken: list[int]
) -> None:
    stream.start()

    def repeated_until_reopened() -> bool:
        backend.give(3, 3)
        return backend.openings >= 2

    wait_for(repeated_until_reopened)
    assert taken[0] == 3
    assert len(taken) <= backend.openings


@pytest.mark.parametrize(
    ("stats", "new_gaps", "level", "words"),
    [
        (StreamStats(rate=15.0, age=0.05), 0, "ok", "working"),
        (StreamStats(rate=15.0, age=0.05), 4, "warn", "4 frames lost"),
        (StreamStats(rate=9.0, age=0.05), 0, "warn", "9.0 Hz instead of 15 Hz"),
        (StreamStats(rate=15.0, age=0.5), 0, "stale", "no frame for 0.5 s"),
        (StreamStats(error="pulled out"), 0, "error", "pulled out"),
    ],
)
def test_health_names_what_is_wrong(
    stats: StreamStats, new_gaps: int, level: str, words: str
) -> None:
    health = camera_health(stats, fps=15, new_gaps=new_gaps)
    assert health.level == level
    assert words in health.message


def test_settings_come_from_the_cell(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ATE_RUNTIME_DIR", str(tmp_path))
    cell = load_cell(hardware="sim")
    settings = CameraSettings.from_cell(cell, "left_wrist")
    assert settings.backend == "software"
    assert settings.frame_path == tmp_path / "frame_left_wrist.image"
    with pytest.raises(UsageError, match="no camera 'nose'"):
        CameraSettings.from_cell(cell, "nose")


def test_software_back_end_needs_a_simulated_cell() -> None:
    settings = CameraSettings(
        role="overhead", serial="", backend="software", width=8, height=8, fps=15
    )
    with pytest.raises(UsageError, match="hardware:=sim"):
        make_backend(settings)
