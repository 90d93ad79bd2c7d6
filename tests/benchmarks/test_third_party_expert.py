"""The expert of other simulators' tasks: its arm, its plans and its demonstrations."""

import numpy as np
import pytest

from ate_core.errors import EpisodeError, LayoutError
from benchmarks.third_party.episodes import convert, load_robot
from benchmarks.third_party.expert import nearest_face, plan
from benchmarks.third_party.panda import Panda, Pose, tool_down
from benchmarks.third_party.play import collect
from training.data.episode_file import read_episode


def test_the_panda_stands_where_the_simulators_show_it(toy):
    # Read from ManiSkill 3.0.1 (PickCube-v1, seed 0) and robosuite 1.5.2 (TwoArmLift, seed 1).
    q = np.array([0.0353, 0.4007, 0.0196, -1.9187, 0.0374, 2.3366, 0.8044])
    assert toy.arm.forward(q).position == pytest.approx([0.0123, 0.0380, 0.1822], abs=2e-4)
    arm = Panda(base=(-0.56, -0.25, 0.912), tool=0.097)
    q = np.array([0.013, 0.21, -0.01, -2.651, 0.003, 2.944, 0.761])
    assert arm.forward(q).position == pytest.approx([-0.123, -0.249, 0.995], abs=1e-3)


def test_inverse_kinematics_reaches_poses_in_front_of_the_arm(toy):
    rng = np.random.default_rng(0)
    for _ in range(20):
        target = Pose(rng.uniform([-0.15, -0.2, 0.02], [0.15, 0.2, 0.3]), tool_down(rng.normal()))
        reached = toy.arm.forward(toy.arm.inverse(target, toy.rest))
        assert reached.position == pytest.approx(target.position, abs=2e-4)
        assert reached.rotation == pytest.approx(target.rotation, abs=1e-3)


@pytest.mark.parametrize(
    ("degrees", "period", "wanted"),
    [(100, 90, 10), (-100, 90, -10), (50, 90, -40), (170, 180, -10), (80, 180, 80)],
)
def test_a_gripper_turns_to_the_nearest_face(degrees, period, wanted):
    yaw = np.radians(degrees)
    found = nearest_face(np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.radians(period))
    assert np.degrees(found) == pytest.approx(wanted)


def test_the_expert_ends_near_the_goal_without_a_jump(toy):
    start = toy.reset(3)
    actions = np.stack(list(plan(toy, start, np.random.default_rng(0))))
    tool = toy.arm.forward(actions[-1, :7]).position
    assert np.linalg.norm(tool - start.environment[1, :3]) < 4 * 0.002 * np.sqrt(3)
    assert np.abs(np.diff(actions[:, :7], axis=0)).max() < 0.2
    assert np.abs(actions[0, :7] - toy.rest).max() < 0.05


def test_demonstrations_become_episodes_that_training_reads(tmp_path, toy):
    attempts = collect(toy, tmp_path / "raw", 2, first_seed=7)
    assert attempts == 2
    count = convert(tmp_path / "raw", tmp_path / "hdf5", load_robot("panda"), "go there")
    assert count == 2
    raw = np.load(tmp_path / "raw" / "episode_000001.npz")
    episode = read_episode(tmp_path / "hdf5" / "episode_000001.hdf5", load_robot("panda").layout)
    assert episode.action == pytest.approx(raw["action"], abs=1e-6)
    # The toy obeys at once: the state of a tick is the action of the tick before.
    assert episode.state[1:] == pytest.approx(episode.action[:-1])
    assert episode.environment.shape == (len(episode), 2, 7)
    assert np.all(np.diff(episode.timestamps_ns) == 50_000_000)
    assert (episode.task, episode.seed, episode.outcome) == ("push_cube", 8, "success")
    assert (episode.instruction, episode.object_names) == ("go there", ("cube", "goal"))


def test_an_expert_that_fails_is_reported(tmp_path, toy):
    toy.success = lambda: False
    with pytest.raises(SystemExit, match="only 0 of 4 attempts at push_cube"):
        collect(toy, tmp_path, 2, first_seed=0)


def test_demonstrations_of_another_robot_or_a_damaged_file_are_refused(tmp_path, toy):
    collect(toy, tmp_path, 1, first_seed=0)
    with pytest.raises(LayoutError, match="contract two_pandas is for joints"):
        convert(tmp_path, tmp_path / "out", load_robot("two_pandas"), "")
    file = tmp_path / "episode_000000.npz"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(EpisodeError, match="cannot be read"):
        convert(tmp_path, tmp_path / "out", load_robot("panda"), "")
    with pytest.raises(EpisodeError, match="collect demonstrations first"):
        convert(tmp_path / "none", tmp_path / "out", load_robot("panda"), "")
    assert not list(tmp_path.glob("out/*"))
