"""Counting, dropping and reconnecting, without a camera library."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import DeviceError, UsageError
from realsense_camera.backends import make_backend
from realsense_camera.camera import CameraSettings, Frame, FrameHandler, Intrinsics
from realsense_camera.emulator import draw_pattern
from realsense_camera.encoder import EncoderStats
from realsense_camera.health import camera_health
from realsense_camera.pictures import complaint
from realsense_camera.stream import CameraStream, FrameCounter, StreamConfig, StreamStats

IMAGE = np.zeros((4, 4, 3), np.uint8)
FAST = StreamConfig(silence_limit=0.1, first_frame_limit=0.1, retry_wait=0.02, check_period=0.01)


class ScriptedBackend:
    """A back end whose frames are given by the test."""

    def __init__(self) -> None:
        self.failures = 0
        self.failure: Exception = DeviceError("camera is not connected")
        self.close_failure: Exception | None = None
        self.is_noisy = False
        self.hang: threading.Event | None = None
        self.openings = 0
        self.on_frame: FrameHandler | None = None

    def open(self, on_frame: FrameHandler) -> Intrinsics | None:
        if self.failures:
            self.failures -= 1
            raise self.failure
        if self.hang is not None:
            self.hang.wait()
        self.openings += 1
        self.on_frame = on_frame
        return None

    def close(self) -> None:
        self.on_frame = None
        if self.close_failure is not None:
            raise self.close_failure

    def give(self, number: int, stamp_ns: int, image: np.ndarray = IMAGE) -> None:
        if self.on_frame is not None:
            self.on_frame(Frame(image=image, number=number, stamp_ns=stamp_ns))


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
        assert counter.take(number, stamp_ns=index, same_picture=False, now=index / 10)
    stats = counter.stats(now=0.5)
    assert (stats.frames, stats.gaps, stats.repeats) == (4, 2, 0)
    assert stats.rate == pytest.approx(10.0)
    assert stats.age == pytest.approx(0.2)


@pytest.mark.parametrize(("number", "stamp_ns"), [(1, 100), (1, 200), (2, 100)])
def test_same_picture_under_the_same_number_or_stamp_is_a_repeat(number, stamp_ns) -> None:
    counter = FrameCounter()
    assert counter.take(1, stamp_ns=100, same_picture=False, now=0.0)
    assert not counter.take(number, stamp_ns=stamp_ns, same_picture=True, now=0.1)
    assert counter.stats(0.3).repeats == 1
    assert counter.stats(0.3).age == pytest.approx(0.3), "a repeat does not make the stream fresh"


@pytest.mark.parametrize(("number", "stamp_ns"), [(1, 100), (1, 200), (2, 100), (0, 50)])
def test_new_picture_is_new_whatever_its_number_and_stamp(number, stamp_ns) -> None:
    counter = FrameCounter()
    counter.take(1, stamp_ns=100, same_picture=False, now=0.0)
    assert counter.take(number, stamp_ns=stamp_ns, same_picture=False, now=0.1)
    assert counter.stats(0.1).repeats == 0


def test_scene_at_rest_is_not_a_repeat() -> None:
    counter = FrameCounter()
    for number in range(5):
        assert counter.take(number, stamp_ns=number, same_picture=number > 0, now=number / 10)
    assert (counter.stats(0.5).repeats, counter.stats(0.5).unchanged) == (0, 4)


def test_camera_that_counts_anew_makes_no_gap() -> None:
    counter = FrameCounter()
    counter.take(500, stamp_ns=1, same_picture=False, now=0.0)
    assert counter.take(1, stamp_ns=2, same_picture=False, now=0.1)
    counter.restart()
    assert counter.take(90, stamp_ns=3, same_picture=True, now=0.2)
    assert counter.stats(0.2).gaps == 0


def test_repeat_is_no_new_picture_after_an_opening_either() -> None:
    counter = FrameCounter()
    counter.take(7, stamp_ns=1, same_picture=False, now=0.0)
    counter.restart()
    assert not counter.take(7, stamp_ns=2, same_picture=True, now=0.1)
    assert counter.take(8, stamp_ns=3, same_picture=True, now=0.2)


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


def test_camera_of_another_process_is_not_opened(backend: ScriptedBackend) -> None:
    refusal = ["process 7 already uses camera 4"]
    stream = CameraStream(backend, lambda frame: None, FAST, claim=lambda: refusal[0])
    stream.start()
    try:
        wait_for(lambda: stream.stats(0.0).error == refusal[0])
        assert backend.openings == 0
        refusal[0] = ""
        wait_for(lambda: backend.openings > 0)
        refusal[0] = "process 8 already uses camera 4"
        wait_for(lambda: stream.stats(0.0).error == refusal[0])  # it was silent
    finally:
        stream.stop()


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
    "failure",
    [RuntimeError("xioctl(VIDIOC_S_FMT) failed, errno=19"), OSError(19, "No such device"),
     ValueError("odd"), SystemError("native"), MemoryError()],
    ids=lambda failure: type(failure).__name__,
)  # fmt: skip
def test_camera_is_opened_again_whatever_its_library_raises(
    backend: ScriptedBackend, stream: CameraStream, taken: list[int], failure: Exception
) -> None:
    backend.failures, backend.failure, backend.close_failure = 2, failure, failure
    stream.start()
    wait_for(lambda: type(failure).__name__ in stream.stats(time.monotonic()).error)
    wait_for(lambda: stream.stats(time.monotonic()).openings == 1)
    backend.give(1, 1)
    wait_for(lambda: stream.stats(time.monotonic()).openings >= 2)  # silence, then a bad close
    backend.give(2, 2)
    assert taken[0] == 1
    assert not stream.trouble(time.monotonic())


def test_library_that_hangs_is_told_and_left_behind(backend: ScriptedBackend, taken) -> None:
    backend.hang = threading.Event()
    stream = CameraStream(backend, taken.append, StreamConfig(call_limit=0.05))
    stream.start()
    wait_for(lambda: "has not returned" in stream.trouble(time.monotonic()))
    stream.stop()  # returns although the library does not
    backend.hang.set()


def test_first_frame_of_a_sensor_may_take_longer_than_the_next_ones(
    backend: ScriptedBackend, taken: list[int]
) -> None:
    backend.is_noisy = True
    config = StreamConfig(silence_limit=0.05, first_frame_limit=60.0, check_period=0.01)
    stream = CameraStream(backend, lambda frame: taken.append(frame.number), config)
    stream.start()
    wait_for(lambda: stream.stats(time.monotonic()).openings == 1)
    opened = time.monotonic()
    wait_for(lambda: time.monotonic() - opened > 0.3)  # six times the silence of a running one
    assert backend.openings == 1
    backend.give(1, 1)
    wait_for(lambda: stream.stats(time.monotonic()).openings == 2)
    stream.stop()


def test_frozen_picture_of_a_real_sensor_opens_the_camera_again(
    backend: ScriptedBackend, taken: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    backend.is_noisy = True
    config = StreamConfig(silence_limit=5.0, frozen_limit=0.05, check_period=0.01)
    stream = CameraStream(backend, lambda frame: taken.append(frame.number), config)
    stream.start()
    number = 0

    def reopened() -> bool:
        nonlocal number
        number += 1
        backend.give(number, number)
        return backend.openings >= 2

    wait_for(reopened)
    stream.stop()
    assert "the picture is frozen" in caplog.text


@pytest.mark.parametrize("buffers", [1, 3], ids=["one picture", "buffers handed round"])
def test_frozen_camera_stays_an_error_and_publishes_nothing_until_its_picture_changes(
    backend: ScriptedBackend, taken: list[int], buffers: int
) -> None:
    backend.is_noisy = True
    config = StreamConfig(silence_limit=5.0, frozen_limit=0.05, check_period=0.01)
    stream = CameraStream(backend, lambda frame: taken.append(frame.number), config)
    pictures = [np.full((4, 4, 3), value, np.uint8) for value in range(buffers)]
    number, errors = 0, set()

    def reopened(times: int) -> Callable[[], bool]:
        def give() -> bool:
            nonlocal number
            number += 1
            backend.give(number, number, pictures[number % buffers])
            errors.add(stream.stats(time.monotonic()).error)
            return stream.stats(time.monotonic()).openings > times

        return give

    stream.start()
    wait_for(reopened(1))
    published = len(taken)
    errors.clear()
    wait_for(reopened(4))
    assert len(taken) == published
    assert len(errors) == 1 and "the picture is frozen" in errors.pop()
    changed = np.full((4, 4, 3), 99, np.uint8)
    backend.give(number + 1, number + 1, changed)
    assert taken[published:] == [number + 1]
    assert stream.stats(time.monotonic()).error == ""
    backend.give(number + 2, number + 2, changed)  # it was one leftover picture, not a live sensor
    assert taken[published:] == [number + 1]
    assert "the picture is frozen" in stream.stats(time.monotonic()).error
    stream.stop()


def test_simulated_scene_at_rest_is_published_after_an_opening_too(
    backend: ScriptedBackend, stream: CameraStream, taken: list[int]
) -> None:
    stream.start()
    for opening in (1, 2):
        wait_for(lambda opening=opening: stream.stats(time.monotonic()).openings == opening)
        backend.give(opening, opening)
    assert taken == [1, 2]


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint16), np.zeros((8, 4, 3), np.uint8),
     np.zeros((0, 0, 3), np.uint8), np.float64(3.0)],
    ids=["grey", "16 bit", "other size", "empty", "no array"],
)  # fmt: skip
def test_array_that_is_no_picture_is_named_and_not_published(
    backend: ScriptedBackend, taken: list[int], image
) -> None:
    stream = CameraStream(backend, lambda frame: taken.append(frame.number), FAST, shape=(4, 4))
    stream.start()
    wait_for(lambda: stream.stats(time.monotonic()).openings == 1)
    backend.give(1, 1, np.asarray(image))
    stats = stream.stats(time.monotonic())
    stream.stop()
    assert (taken, stats.malformed) == ([], 1)
    assert "need RGB pictures of 4x4" in stats.error


def test_picture_handed_over_outlives_the_library_s_buffer(backend: ScriptedBackend) -> None:
    kept: list[np.ndarray] = []
    stream = CameraStream(backend, lambda frame: kept.append(frame.image), FAST)
    stream.start()
    wait_for(lambda: stream.stats(time.monotonic()).openings == 1)
    buffer = np.full((4, 4, 3), 7, np.uint8)
    backend.give(1, 1, buffer)
    buffer[:] = 9
    stream.stop()
    assert kept[0].max() == 7


@pytest.mark.parametrize(
    ("stats", "new_gaps", "new_drops", "level", "words"),
    [
        (StreamStats(rate=15.0, age=0.05), 0, 0, "ok", "working"),
        (StreamStats(rate=15.0, age=0.05), 4, 0, "warn", "4 frames lost"),
        (StreamStats(rate=15.0, age=0.05), 0, 3, "warn", "3 frames not compressed in time"),
        (StreamStats(rate=9.0, age=0.05), 0, 0, "warn", "9.0 Hz instead of 15 Hz"),
        (StreamStats(rate=17.0, age=0.05), 0, 0, "ok", "working"),
        (StreamStats(rate=30.0, age=0.05), 0, 0, "warn", "30.0 Hz instead of 15 Hz"),
        (StreamStats(rate=30.0, age=0.05, is_full=False), 0, 0, "ok", "working"),
        (StreamStats(rate=15.0, age=0.05, odd="all black"), 0, 0, "warn", "all black"),
        (StreamStats(rate=9.0, age=0.05, odd="all black"), 0, 0, "warn", "9.0 Hz instead"),
        (StreamStats(rate=15.0, age=0.5), 0, 0, "stale", "no frame for 0.5 s"),
        (StreamStats(error="pulled out"), 0, 0, "error", "pulled out"),
    ],
)
def test_health_names_what_is_wrong(
    stats: StreamStats, new_gaps: int, new_drops: int, level: str, words: str
) -> None:
    health = camera_health(stats, 15, new_gaps, EncoderStats(dropped=new_drops), new_drops)
    assert health.level == level
    assert words in health.message


NOISE = np.random.default_rng(0)
COLOURS = NOISE.integers(0, 255, (54, 96, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (NOISE.integers(0, 3, (54, 96, 3), np.uint8), "nearly black, mean 1.0 of 255"),
        (np.zeros((54, 96, 3), np.uint8), "nearly black"),
        (np.full((54, 96, 3), 255, np.uint8), "the same everywhere"),
        (np.full((54, 96, 3), (0, 200, 30), np.uint8), "the same everywhere"),
        (COLOURS * np.array([1, 1, 0], np.uint8), "the blue of its picture is the same"),
        (np.repeat(COLOURS[..., :1], 3, axis=2), "red, green and blue are equal everywhere"),
    ],
    ids=["lens cap", "black", "overexposed", "one colour", "dead channel", "infrared"],
)
def test_odd_picture_is_warned_of_and_published(
    backend: ScriptedBackend, stream: CameraStream, taken: list[int], image, words: str
) -> None:
    stream.start()
    wait_for(lambda: stream.stats(time.monotonic()).openings == 1)
    backend.give(1, 1, image)
    odd = stream.stats(time.monotonic())
    backend.give(2, 2, COLOURS)
    well = stream.stats(time.monotonic())
    assert taken == [1, 2]
    assert words in odd.odd and words in camera_health(odd, 30, 0, EncoderStats()).message
    assert camera_health(odd, 30, 0, EncoderStats()).level == "warn"
    assert camera_health(well, 30, 0, EncoderStats()).level == "ok"


@pytest.mark.parametrize("size", [(270, 480), (540, 960), (48, 64)])
def test_test_pattern_is_no_odd_picture(size: tuple[int, int]) -> None:
    assert complaint(draw_pattern(*size, 77)) == ("", "")


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
