"""Experts, inverse kinematics and other bodies."""

import dataclasses

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import UsageError
from ate_sim.embodiments import bodies_of, collect_fast, generate_motion
from ate_sim.experts import Expert
from ate_sim.ik import ToolTracker
from ate_sim.motion_plan import ExpertConfig, minimum_jerk, tool_down
from ate_sim.tasks import TASKS, load_task
from ate_sim.world.sim_world import SimWorld

EMBODIMENTS = bodies_of()
SIX_AXIS = load_cell("six_axis", "sim")


def test_minimum_jerk_starts_and_ends_at_rest() -> None:
    assert minimum_jerk(-1.0) == 0.0
    assert minimum_jerk(0.5) == pytest.approx(0.5)
    assert minimum_jerk(2.0) == 1.0
    step = 1e-4
    assert minimum_jerk(step) < 1e-10
    assert 1.0 - minimum_jerk(1.0 - step) < 1e-10


@pytest.mark.parametrize("task", TASKS.names())
def test_plan_is_continuous_and_returns_home(task: str) -> None:
    world = SimWorld(load_task(task))
    expert = Expert(world.scene, world, seed=0)
    for side in ("left", "right"):
        poses = [
            expert.tool_target(side, time)[0][:3, 3]
            for time in np.arange(0.0, expert.duration + 0.2, 0.02)
        ]
        assert np.linalg.norm(np.diff(poses, axis=0), axis=1).max() < 0.012
        assert poses[0] == pytest.approx(world.tool_pose(side)[:3, 3])
        assert poses[-1] == pytest.approx(poses[0])
        assert expert.tool_target(side, expert.duration)[1] == 1.0


def test_arm_without_work_stands_still() -> None:
    world = SimWorld(load_task("pick_place"))
    expert = Expert(world.scene, world, seed=0)
    for time in np.linspace(0.0, expert.duration, 20):
        pose, opening = expert.tool_target("right", time)
        assert np.array_equal(pose, world.tool_pose("right"))
        assert opening == 1.0


def test_pace_stretches_the_episode_and_noise_moves_the_aim() -> None:
    world = SimWorld(load_task("pick_place"))
    quick, slow = (Expert(world.scene, world, 0, ExpertConfig(pace=pace)) for pace in (0.7, 1.0))
    assert slow.duration > quick.duration
    noisy = Expert(world.scene, world, 0, ExpertConfig(aim_noise=0.003))
    moment = 0.5 * quick.duration
    offset = noisy.tool_target("left", moment)[0] - quick.tool_target("left", moment)[0]
    assert 0.0 < np.abs(offset).max() < 0.02
    repeated = Expert(world.scene, world, 0, ExpertConfig(aim_noise=0.003))
    poses = [expert.tool_target("left", moment)[0] for expert in (noisy, repeated)]
    assert np.array_equal(*poses)


def test_tracker_reaches_a_pose_and_keeps_the_elbow_bent() -> None:
    world = SimWorld(load_task("pick_place"))
    tracker = ToolTracker(world, "left")
    start = world.tool_pose("left")
    goal = tool_down([0.30, 0.20, 0.08], yaw=0.5)
    for share in np.linspace(0.0, 1.0, 20):
        pose = goal.copy()
        pose[:3, 3] = (1 - share) * start[:3, 3] + share * goal[:3, 3]
        q = tracker.solve(pose)
    world.set_arm_target("left", q)
    world.step(1000)
    assert world.tool_pose("left") == pytest.approx(goal, abs=2e-3)
    far = tool_down([0.80, 0.20, 0.08])
    for _ in range(20):
        q = tracker.solve(far)
    assert q[3] >= 0.1


@pytest.mark.parametrize("name", EMBODIMENTS)
def test_other_bodies_do_the_task_with_the_same_expert(name: str) -> None:
    [episode] = collect_fast("pick_place", [4], embodiment=EMBODIMENTS[name])
    assert episode.success
    lacks_joint3 = "joint3" in EMBODIMENTS[name].locked_joints
    assert np.all(episode.action[:, 2] == 0.0) == lacks_joint3
    assert np.all(episode.state[:, 10] == 0.0) == lacks_joint3


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("task", TASKS.names())
@pytest.mark.parametrize("name", EMBODIMENTS)
def test_other_bodies_do_every_task(name: str, task: str) -> None:
    episodes = collect_fast(task, range(4), embodiment=EMBODIMENTS[name])
    assert sum(episode.success for episode in episodes) >= 3


@pytest.mark.parametrize("name", bodies_of(SIX_AXIS))
def test_bodies_of_a_six_axis_cell_are_variants_of_its_own_model(name: str) -> None:
    [episode] = collect_fast(
        "pick_place", [4], embodiment=bodies_of(SIX_AXIS)[name], cell=SIX_AXIS
    )
    assert episode.success
    assert episode.action.shape[1] == 14
    [motion] = generate_motion(1, seed=0, embodiments=(name,), cell=SIX_AXIS)
    assert motion.shape[1] == 14


def test_arms_of_different_joint_counts_work_together() -> None:
    seven = load_cell(hardware="sim")
    fields = (*seven.vectors.state[:2], *SIX_AXIS.vectors.state[2:])
    mixed = dataclasses.replace(
        seven,
        arms={"left": seven.arms["left"], "right": SIX_AXIS.arms["right"]},
        vectors=dataclasses.replace(seven.vectors, state=fields, action=fields),
    )
    [episode] = collect_fast("handover", [0], cell=mixed)
    assert episode.success
    assert episode.state.shape[1] == 7 + 1 + 6 + 1
    with pytest.raises(UsageError, match="models rm75_6f, six_axis; other bodies are made from"):
        bodies_of(mixed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("task", TASKS.names())
def test_a_six_axis_cell_does_every_task_from_ten_starts(task: str) -> None:
    episodes = collect_fast(task, range(10), cell=SIX_AXIS)
    assert [episode.seed for episode in episodes if not episode.success] == []


def test_collected_episodes_have_the_layout_of_the_cell() -> None:
    [episode] = collect_fast("handover", [2], config=ExpertConfig())
    length = len(episode.action)
    assert episode.state.shape == episode.action.shape == (length, 16)
    assert episode.environment.shape == (length, 2, 7)
    assert episode.state.dtype == episode.action.dtype == np.float32
    # An action is what the arm does next: the state follows it one or two ticks later.
    state, action = episode.state[:, 8:15], episode.action[:, 8:15]
    errors = [np.abs(state[6:] - action[6 - lag : length - lag]).mean() for lag in range(6)]
    assert np.argmin(errors) in (1, 2)


def test_generated_motion_repeats_and_varies() -> None:
    motion = generate_motion(4, seed=3, tasks=("pick_place",), embodiments=("six_axes",))
    again = generate_motion(4, seed=3, tasks=("pick_place",), embodiments=("six_axes",))
    assert len(motion) == 4
    assert all(np.array_equal(a, b) for a, b in zip(motion, again, strict=True))
    assert all(a.shape[1] == 16 and np.all(a[:, 2] == 0.0) for a in motion)
    assert not np.array_equal(motion[0][:50], motion[1][:50])


def test_generated_motion_needs_known_names() -> None:
    with pytest.raises(UsageError, match="six_axes"):
        generate_motion(1, seed=0, embodiments=("octopus",))
    with pytest.raises(UsageError, match="at least one"):
        generate_motion(1, seed=0, tasks=())
