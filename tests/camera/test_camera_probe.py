"""The doctor's look at one camera, with pictures of the test's own."""

import itertools
import threading
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from ate_core.loop import FixedRateLoop
from realsense_camera import probe
from realsense_camera.camera import Frame, FrameHandler

FPS = 50
NOISE = np.random.default_rng(0)


def lively() -> np.ndarray:
    return NOISE.integers(0, 255, (18, 32, 3), np.uint8)


class PictureBackend:
    """Delivers pictures at a rate."""

    def __init__(self, pictures: Iterable[np.ndarray], fps: float = FPS, is_noisy: bool = True):
        self.pictures, self.fps, self.is_noisy = pictures, fps, is_noisy
        self.stop = threading.Event()

    def open(self, on_frame: FrameHandler) -> None:
        self.thread = threading.Thread(target=self.run, args=(on_frame,))
        self.thread.start()

    def run(self, on_frame: FrameHandler) -> None:
        rounds = FixedRateLoop(self.fps, self.stop)
        for number, (image, _) in enumerate(zip(self.pictures, rounds, strict=False)):
            on_frame(Frame(image=image, number=number, stamp_ns=number))

    def close(self) -> None:
        self.stop.set()
        self.thread.join()


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "LOOK_TIME", 0.4)


def endless(make: Callable[[], np.ndarray]) -> Iterable[np.ndarray]:
    return (make() for _ in itertools.count())


def test_live_camera_is_counted() -> None:
    finding = probe._count("overhead", FPS, PictureBackend(endless(lively)))
    assert finding.status in ("pass", "warn")  # a slow machine delivers less
    assert "pictures/s" in finding.value


@pytest.mark.parametrize("buffers", [1, 3], ids=["one picture", "buffers handed round"])
def test_frozen_picture_of_a_real_sensor_fails(buffers: int) -> None:
    pictures = itertools.cycle([lively() for _ in range(buffers)])
    finding = probe._count("overhead", FPS, PictureBackend(pictures))
    assert finding.status == "fail"
    assert "its picture is frozen" in finding.text


def test_simulated_scene_at_rest_is_not_frozen() -> None:
    pictures = itertools.repeat(lively())
    finding = probe._count("overhead", FPS, PictureBackend(pictures, is_noisy=False))
    assert "frozen" not in finding.text


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((18, 32, 3), np.uint8), "nearly black"),
        (np.full((18, 32, 3), 255, np.uint8), "the same everywhere"),
        (np.repeat(lively()[..., :1], 3, axis=2), "red, green and blue are equal"),
    ],
    ids=["lens cap", "overexposed", "infrared"],
)
def test_odd_picture_is_warned_of(image: np.ndarray, words: str) -> None:
    pictures = itertools.repeat(image)
    finding = probe._count("overhead", FPS, PictureBackend(pictures, is_noisy=False))
    assert finding.status == "warn"
    assert words in finding.value and finding.remedy


def test_camera_that_does_not_keep_its_rate_is_warned_of() -> None:
    finding = probe._count("overhead", 10, PictureBackend(endless(lively), fps=40.0))
    assert finding.status == "warn"
    assert "(need 10)" in finding.value and "does not keep fps" in finding.remedy
