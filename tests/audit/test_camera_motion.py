"""Pictures move when the arms do, on the arm that carries the camera; else nobody can tell."""

import warnings

import numpy as np
import pytest
import simplejpeg

from ate_core.contract import load_cell
from ate_core.resample import make_series
from benchmarks.clean_episodes import with_small_cameras
from training.audit.findings import Untold
from training.audit.judge import audit_episode
from training.audit.rules.camera_motion import late_camera, swapped_cameras
from training.data.bag_reader import BagEpisode

START_NS = 1_700_000_000_000_000_000
WIDTH, HEIGHT = 96, 64
CELL = with_small_cameras(load_cell(None, "sim"), WIDTH, HEIGHT)
TIMES = np.arange(0.0, 9.0, 0.01)
FRAMES = np.arange(0.0, 9.0, 1 / 15)
STRETCHES = {"left": ((0.7, 1.5), (4.0, 5.1)), "right": ((2.2, 3.1), (6.4, 7.2))}
"""When each arm moves [s]."""
SCENE = np.random.default_rng(0).integers(0, 255, (HEIGHT, 400), np.uint8).repeat(3, axis=1)


def way(side, times):
    """Joint angle that rests outside the stretches of its arm."""
    total = np.zeros(len(times))
    for start, end in STRETCHES.get(side, ()):
        share = np.clip((times - start) / (end - start), 0.0, 1.0)
        total += 0.6 * share**2 * (3 - 2 * share)
    return total


def film(side, late=0.0, frames=FRAMES):
    """What a camera shows that an arm carries along a wall, some time late."""
    pictures = []
    for turn in way(side, frames - late):
        first = round(turn * 200)
        grey = np.repeat(SCENE[:, first : first + WIDTH, None], 3, axis=2)
        pictures.append(simplejpeg.encode_jpeg(np.ascontiguousarray(grey), 90, "RGB"))
    return pictures


def episode(images, moving=("left", "right"), frames=FRAMES):
    series = {}
    for side in ("left", "right"):
        turn = way(side, TIMES)[:, None] if side in moving else np.zeros((len(TIMES), 1))
        joints = np.array(CELL.arms[side].home) + turn
        stamps = START_NS + np.round(TIMES * 1e9).astype(np.int64)
        state = np.concatenate([joints, np.gradient(joints, 0.01, axis=0)], axis=1)
        series[f"{side}_arm_state"] = make_series(stamps, state)
        series[f"{side}_arm_command"] = make_series(stamps, joints)
    for key in images:
        series[key] = make_series(START_NS + np.round(frames * 1e9).astype(np.int64))
    return BagEpisode(
        cell=CELL, info={"start_ns": START_NS}, outcome={}, series=series, images=images
    )


def wrists(left, right):
    return {"cam_left_wrist": left, "cam_right_wrist": right}


def test_pictures_in_time_on_their_own_arms_are_sound():
    sound = episode(wrists(film("left"), film("right")))
    assert [*late_camera(sound), *swapped_cameras(sound)] == []


@pytest.mark.parametrize("late", [-0.3, 0.3, 0.6])
def test_a_late_or_early_camera_is_told_by_starts_and_stops(late):
    (found,) = late_camera(episode(wrists(film("left"), film("right", late))))
    assert found.stream == "cam_right_wrist" and found.value == pytest.approx(late, abs=0.05)


@pytest.mark.parametrize("period", [0.2, 0.3])
@pytest.mark.parametrize("late", [0.0, 0.3])
def test_of_pictures_that_come_too_slowly_nobody_can_tell_the_time(late, period):
    slow = np.arange(0.0, 12.0, period)
    films = [film(side, late, slow) for side in ("left", "right")]
    for said in late_camera(episode(wrists(*films), frames=slow)):
        assert isinstance(said, Untold) and f"every {period:.2f} s" in said.reason


def test_exchanged_cameras_are_told_whichever_arm_moves_more():
    (found,) = swapped_cameras(episode(wrists(film("right"), film("left"))))
    assert found.rule == "swapped_cameras" and "exchanged" in found.message


def test_exchanged_cameras_are_told_where_one_arm_rests():
    (found,) = swapped_cameras(episode(wrists(film("none"), film("left")), moving=("left",)))
    assert found.rule == "swapped_cameras"


def test_one_camera_at_rest_that_watches_the_other_arm_is_not_called_exchanged():
    (said,) = swapped_cameras(episode({"cam_right_wrist": film("left")}, moving=("left",)))
    assert isinstance(said, Untold)


def test_of_arms_that_rest_the_rules_cannot_tell_and_say_so():
    still = episode(wrists(film("none"), film("none")), moving=())
    audit = audit_episode("still", still)
    for rule in ("late_camera", "swapped_cameras", "frozen_joints"):
        assert audit.verdicts[rule] == "cannot tell" and audit.untold[rule]


def test_pictures_of_which_none_decodes_are_judged_without_a_warning():
    broken = episode(wrists([b"\xff\xd8 no picture"] * len(FRAMES), film("right")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audit = audit_episode("broken", broken)
    assert audit.verdicts["undecodable"] == "refuse" and "late_camera" in audit.untold
