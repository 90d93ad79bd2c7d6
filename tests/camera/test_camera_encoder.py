"""Compression beside the library's callback."""

import threading

import numpy as np
import pytest

simplejpeg = pytest.importorskip("simplejpeg")

from realsense_camera.camera import Frame  # noqa: E402
from realsense_camera.encoder import BACKLOG, JpegEncoder  # noqa: E402


def frame(number: int, shape=(8, 8, 3)) -> Frame:
    return Frame(image=np.full(shape, number, np.uint8), number=number, stamp_ns=number)


def test_slow_publishing_neither_holds_the_callback_nor_keeps_old_pictures() -> None:
    numbers: list[int] = []
    busy, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def publish(taken: Frame, jpeg: bytes) -> None:
        busy.set()
        go_on.wait(10.0)
        numbers.append(taken.number)
        if taken.number == 20:
            done.set()

    encoder = JpegEncoder(90, publish)
    encoder.start()
    encoder.put(frame(0))
    assert busy.wait(10.0)
    for number in range(1, 21):
        encoder.put(frame(number))  # returns at once: nobody takes them
    go_on.set()
    assert done.wait(10.0)
    encoder.stop()
    assert numbers == [0, *range(21 - BACKLOG, 21)]
    assert encoder.stats().dropped == 20 - BACKLOG


def test_picture_that_cannot_be_published_does_not_end_the_encoder() -> None:
    published = threading.Event()

    def publish(taken: Frame, jpeg: bytes) -> None:
        if taken.number == 1:
            raise ValueError("serialisation failed")
        assert simplejpeg.decode_jpeg(jpeg).shape == (8, 8, 3)
        published.set()

    encoder = JpegEncoder(90, publish)
    encoder.start()
    for number in (1, 2):
        encoder.put(frame(number))
    assert published.wait(10.0)
    encoder.stop()
    assert (encoder.stats().failed, encoder.is_alive) == (1, False)
