"""What is exported as a LeRobot set comes back as it was, ours and the real recordings."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from training.audit.lerobot import find_in_lerobot
from training.data.commanders import NAMES, NOBODY, OPERATOR, POLICY
from training.data.episode_file import list_episodes, read_episode, write_episode
from training.export.lerobot import LerobotExport, export_lerobot
from training.foreign.importer import open_recordings
from training.foreign.proposal import propose
from training.import_recordings import ImportConfig, import_recordings

RECORDINGS = Path(os.environ.get("ATE_RECORDINGS", "recordings")) / "g1_two_arm"


def bring(folder, cell, output):
    """Import a set by the mapping that is proposed for it."""
    mapping = output.with_suffix(".yaml")
    mapping.write_text(propose(open_recordings(folder), cell).text)
    code = import_recordings(ImportConfig(recordings=folder, mapping=mapping, output=output))
    return code, [read_episode(path) for path in list_episodes(output)]


def test_our_episodes_come_back_from_a_lerobot_set(tmp_path, cell, write_own, others):
    own = write_own(tmp_path / "own")
    assert export_lerobot(LerobotExport(episodes=own, output=tmp_path / "set")) == 0
    code, (back,) = bring(tmp_path / "set", cell, tmp_path / "back")
    before = read_episode(own / "episode_000000.hdf5")
    assert code == 0 and len(back) == len(before)
    np.testing.assert_allclose(back.state, before.state, atol=1e-6)
    np.testing.assert_allclose(back.action, before.action, atol=1e-6)
    assert back.instruction == before.instruction
    for key in cell.layout.cameras:
        shown = [others.seen(jpeg) for jpeg in back.images[key]]
        sent = [others.seen(jpeg) for jpeg in before.images[key]]
        np.testing.assert_allclose(shown, sent, atol=3.0)


def test_who_commanded_comes_back_from_a_set_of_ours(tmp_path, cell, write_own):
    first = read_episode(write_own(tmp_path / "first") / "episode_000000.hdf5")
    who = np.full((len(first), 2), OPERATOR, np.uint8)
    who[10:20], who[20:25, 1] = POLICY, NOBODY
    own = tmp_path / "own"
    write_episode(own / "episode_000000.hdf5", dataclasses.replace(first, commanded_by=who))
    assert export_lerobot(LerobotExport(episodes=own, output=tmp_path / "set")) == 0
    _, (back,) = bring(tmp_path / "set", cell, tmp_path / "back")
    np.testing.assert_array_equal(back.commanders, who)
    reads, _ = find_in_lerobot(tmp_path / "set", None, None)
    (audited,) = (read() for read in reads.values())
    seen = [NAMES.index(name) for name in audited.commanders["right_arm_command"]]
    np.testing.assert_array_equal(seen, who[:, 1])


def test_how_an_episode_ended_comes_back_from_a_set_of_ours(tmp_path, cell, write_own):
    first = read_episode(write_own(tmp_path / "first") / "episode_000000.hdf5")
    for number, outcome in enumerate(("success", "failure", "knocked over")):
        episode = dataclasses.replace(first, outcome=outcome, seed=40 + number)
        write_episode(tmp_path / "own" / f"episode_{number:06d}.hdf5", episode)
    export = LerobotExport(episodes=tmp_path / "own", output=tmp_path / "set")
    assert export_lerobot(export) == 0
    _, back = bring(tmp_path / "set", cell, tmp_path / "back")
    assert [one.outcome for one in back] == ["success", "failure", "knocked over"]
    assert [one.seed for one in back] == [40, 41, 42]


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings: set ATE_RECORDINGS")
def test_the_real_recordings_go_both_ways(tmp_path, cell):
    code, first = bring(RECORDINGS, cell, tmp_path / "first")
    assert code == 1 and len(first) == 1  # one of 80 has its video
    export_lerobot(LerobotExport(episodes=tmp_path / "first", output=tmp_path / "set"))
    code, (again,) = bring(tmp_path / "set", cell, tmp_path / "again")
    assert code == 0
    np.testing.assert_allclose(again.state, first[0].state, atol=1e-6)
    np.testing.assert_allclose(again.action, first[0].action, atol=1e-6)
    assert again.instruction == first[0].instruction
    assert len(again.images["cam_high"]) == len(first[0])
