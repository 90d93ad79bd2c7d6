"""Images that are none, and cameras that stand still, are refused at conversion."""

import dataclasses

import numpy as np
import pytest
import simplejpeg

from ate_core.contract import load_cell
from ate_core.resample import make_series
from benchmarks.clean_episodes import with_small_cameras
from training.audit.findings import refusals
from training.audit.rules.images import image_problem
from training.data.bag_reader import BagEpisode

START_NS = 1_700_000_000_000_000_000
WIDTH, HEIGHT = 96, 64
CELL = with_small_cameras(load_cell(None, "sim"), WIDTH, HEIGHT)
STAMPS = START_NS + (np.arange(30) * 1e9 / 15).astype(np.int64)


def picture(seed, width=WIDTH, height=HEIGHT):
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return simplejpeg.encode_jpeg(noise, 90, "RGB")


GOOD = picture(0)
BROKEN = {
    "empty": (b"", "it is empty"),
    "random bytes": (bytes(range(256)) * 20, "it is no image"),
    "half a JPEG": (GOOD[: len(GOOD) // 2], "breaks off"),
    "a PNG": (b"\x89PNG\r\n\x1a\n" + bytes(500), "it is a PNG"),
    "a WebP": (b"RIFF\0\0\0\0WEBP" + bytes(500), "it is a WebP"),
    "another size": (picture(1, 64, 48), "it is 64x48 pixels, the contract says 96x64"),
    "only its start": (GOOD[:10], "header is damaged"),
    "a start and an end": (b"\xff\xd8" + bytes(500) + b"\xff\xd9", "header is damaged"),
    "one byte": (b"\xff", "it is no image"),
}


@pytest.fixture
def sound():
    time = (STAMPS - START_NS) / 1e9
    state = np.zeros((30, 14))
    state[:, :7] = np.array(CELL.arms["left"].home) + 0.3 * np.sin(3 * time)[:, None]
    series = {name: make_series(STAMPS) for name in ("cam_high", "cam_left_wrist")}
    series["left_arm_state"] = make_series(STAMPS, state)
    series["left_arm_command"] = make_series(STAMPS, state[:, :7])
    images = {key: [picture(i) for i in range(30)] for key in ("cam_high", "cam_left_wrist")}
    return BagEpisode(
        cell=CELL, info={"start_ns": START_NS}, outcome={}, series=series, images=images
    )


def with_images(episode, key, images):
    return dataclasses.replace(episode, images=episode.images | {key: images})


def test_whole_jpegs_of_the_right_size_are_taken(sound):
    assert refusals(sound) == []
    assert image_problem(GOOD + bytes(7), WIDTH, HEIGHT) == ""  # padded, as in other formats


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_image_is_refused_with_what_it_is(sound, kind):
    data, words = BROKEN[kind]
    images = [*sound.images["cam_high"][:12], data, *sound.images["cam_high"][13:]]
    (found,) = refusals(with_images(sound, "cam_high", images))
    assert (found.rule, found.stream) == ("broken_image", "cam_high") and words in found.message
    assert found.start_s == pytest.approx(12 / 15)


@pytest.mark.parametrize("key", ["cam_high", "cam_left_wrist"])
def test_a_camera_frozen_under_fresh_stamps_is_refused(sound, key):
    images = [picture(min(i, 10)) for i in range(30)]
    (found,) = refusals(with_images(sound, key, images))
    assert (found.rule, found.stream) == ("frozen_camera", key)


def test_a_camera_before_which_nothing_moves_may_show_one_picture(sound):
    still = sound.series["left_arm_state"]
    still = dataclasses.replace(still, values=np.tile(still.values[:1], (30, 1)))
    rest = {n: s for n, s in sound.series.items() if "arm" not in n}
    held = make_series(STAMPS, still.values[:, :7])
    series = rest | {"left_arm_state": still, "left_arm_command": held}
    quiet = with_images(sound, "cam_high", [GOOD] * 30)
    assert refusals(dataclasses.replace(quiet, series=series)) == []


def test_a_pause_of_pictures_is_no_frozen_camera(sound):
    """Two equal pictures and then none for a second: of the second nothing is known."""
    kept = [0, 1, *range(16, 30)]
    paused = make_series(STAMPS[kept])
    images = [picture(0), picture(0), *(picture(i) for i in kept[2:])]
    episode = with_images(sound, "cam_high", images)
    series = episode.series | {"cam_high": paused}
    assert refusals(dataclasses.replace(episode, series=series)) == []
