"""Recordings of a hand, from files."""

import os
from pathlib import Path

import numpy as np
import pytest

from ate_core.errors import EpisodeError
from operator_devices.hand_pose import is_rigid
from operator_devices.replay import (
    HandRecording,
    ReplaySource,
    load_recording,
    save_recording,
)


@pytest.fixture
def recording() -> HandRecording:
    """Ten poses in 0.1 s steps, 1 cm apart along x."""
    wrist = np.tile(np.eye(4), (10, 1, 1))
    wrist[:, 0, 3] = 0.01 * np.arange(1, 11)
    return HandRecording(
        time=5.0 + 0.1 * np.arange(10), wrist=wrist, head=np.tile(np.eye(4), (10, 1, 1))
    )


def test_a_recording_comes_back_from_its_file_unchanged(
    recording: HandRecording, tmp_path: Path
) -> None:
    save_recording(tmp_path / "hand.npz", recording)
    loaded = load_recording(tmp_path / "hand.npz")
    for name in ("time", "wrist", "head"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(recording, name))


def test_the_pose_whose_time_has_come_is_shown(recording: HandRecording) -> None:
    source = ReplaySource(recording)
    sample = source.sample_at(350_000_000, start_ns=1000)
    assert sample.transform_wrist_to_headset[0, 3] == pytest.approx(0.04)
    assert sample.received_ns == 300_001_000
    assert sample.tracked


def test_after_its_end_a_recording_is_no_longer_tracked(recording: HandRecording) -> None:
    source = ReplaySource(recording)
    assert source.sample_at(990_000_000).tracked
    assert not source.sample_at(1_010_000_000).tracked


def test_a_new_lap_is_a_new_session(recording: HandRecording) -> None:
    source = ReplaySource(recording, loop=True)
    first, second = source.sample_at(950_000_000), source.sample_at(1_250_000_000)
    assert second.session > first.session
    assert second.sequence > first.sequence
    assert second.received_ns == pytest.approx(1_200_000_000)
    assert second.tracked


def test_joint_logs_of_the_public_demo_become_hand_motion(tmp_path: Path) -> None:
    """At zero the Panda's flange is at (0.088, 0, 0.926) m in its base, pointing down."""
    qpos = np.zeros((100, 16))
    qpos[:, 0] = np.linspace(0.0, 0.1, 100)
    np.savez(tmp_path / "ep.npz", qpos=qpos)
    recording = load_recording(tmp_path / "ep.npz")
    np.testing.assert_allclose(recording.wrist[0, :3, 3], (0.0, 0.088, 0.926), atol=1e-9)
    np.testing.assert_allclose(recording.wrist[0, :3, 2], (0.0, 0.0, -1.0), atol=1e-9)
    assert recording.wrist[-1, 0, 3] < -0.008  # turning left moves the flange left


def test_the_recorded_public_logs_move_like_a_hand() -> None:
    folder = Path(os.environ.get("ATE_RECORDINGS", "recordings")) / "hand_teleop"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the recordings are not part of the repository")
    files = sorted(folder.glob("*.npz"))
    assert files, f"{folder} holds no recording"
    for file in files:
        recording = load_recording(file)
        assert all(is_rigid(wrist) for wrist in recording.wrist)
        speed = np.linalg.norm(np.diff(recording.wrist[:, :3, 3], axis=0), axis=1)
        assert 0.2 < speed.max() / np.diff(recording.time).mean() < 3.0
        assert np.ptp(recording.wrist[:, :3, 3], axis=0).max() > 0.2


@pytest.mark.parametrize("content", [{"other": np.zeros(3)}, {"qpos": np.zeros(3)}])
def test_a_file_of_another_kind_is_refused_with_its_contents(
    tmp_path: Path, content: dict[str, np.ndarray]
) -> None:
    np.savez(tmp_path / "x.npz", **content)
    with pytest.raises(EpisodeError, match="must hold time, wrist and head, or qpos"):
        load_recording(tmp_path / "x.npz")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match="cannot read"):
        load_recording(tmp_path / "none.npz")
