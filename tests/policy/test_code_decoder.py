"""Codes become joints: arms do what tokens say, whichever arm comes first."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ate_core.errors import CheckpointError
from ate_core.pose_tracking import pose_error
from ate_policy.code_decoder import CodeDecoder
from ate_policy.token_folder import TokenIdentity
from ate_policy.tool_space import to_tool_chunks, tool_arms, tool_layout, tool_poses
from ate_policy.transforms import Statistics, VectorStatistics

HORIZON = 20


def tokens_that_say(chunks, names, space, tick_rate=20.0):
    """Tokens whose decoder gives these chunks (A, H, D), whatever the codes are."""
    arms, _, size = chunks.shape
    one = VectorStatistics(
        mean=(0.1,) * (arms * size),
        std=(2.0,) * (arms * size),
        q01=(-1.9,) * (arms * size),
        q99=(2.1,) * (arms * size),
    )
    normalised = (torch.from_numpy(chunks).float() - 0.1) / 2.0
    model = SimpleNamespace(
        config=SimpleNamespace(space=space, action_size=size, codes=8),
        decode=lambda codes: normalised,
    )
    identity = TokenIdentity(
        space=space, horizon=HORIZON, tick_rate=tick_rate, layout=tuple(names), sha256=""
    )
    return SimpleNamespace(
        model=model,
        identity=identity,
        arms=arms,
        checkpoint=SimpleNamespace(statistics=Statistics(state=one, action=one)),
    )


@pytest.fixture
def motion(cell):
    """A measured vector (16,) and smooth commands (20, 16) from there on."""
    rng = np.random.default_rng(0)
    values = {f"{side}_arm": arm.home for side, arm in cell.arms.items()}
    values |= {f"{side}_gripper": 0.5 for side in cell.grippers}
    state = cell.layout.state.pack(values).astype(np.float64)
    way = rng.uniform(-0.3, 0.3, len(state)) * np.linspace(0.0, 1.0, HORIZON + 1)[1:, None]
    return state, np.clip(state + way, None, 2.9)


def tool_chunk(cell, side, state, commands):
    arm = tool_arms(cell)[side]
    return to_tool_chunks(
        tool_poses(arm, commands),
        commands[:, arm.gripper],
        tool_poses(arm, state[None]),
        np.arange(HORIZON)[None],
    )[0]


@pytest.mark.parametrize("sides", [("left", "right"), ("right", "left")])
def test_tools_go_where_the_codes_say_whichever_arm_comes_first(cell, motion, sides):
    state, commands = motion
    chunks = np.stack([tool_chunk(cell, side, state, commands) for side in sides])
    names = [name for side in sides for name in tool_layout((side,)).names]
    decoder = CodeDecoder(tokens_that_say(chunks, names, "tool"), cell)
    found = decoder.actions(torch.zeros(16, dtype=torch.int64), state)
    assert found.shape == (HORIZON, 16) and found.dtype == np.float32
    for side in sides:
        arm = tool_arms(cell)[side]
        np.testing.assert_allclose(found[:, arm.gripper], commands[:, arm.gripper], atol=1e-5)
        for row, wanted in zip(found, commands, strict=True):
            reached, pose = (arm.chain.fk(one[list(arm.joints)]) for one in (row, wanted))
            assert np.abs(pose_error(pose, reached)).max() < 2e-3


@pytest.mark.parametrize("space", ["relative", "absolute"])
@pytest.mark.parametrize("sides", [("left", "right"), ("right", "left")])
def test_joints_are_found_by_name_and_relative_ones_start_where_they_are(
    cell, motion, space, sides
):
    state, commands = motion
    layout = cell.layout.action
    names = [
        name
        for side in sides
        for field in (f"{side}_arm", f"{side}_gripper")
        for name in layout.names[layout.slice(field)]
    ]
    columns = [layout.names.index(name) for name in names]
    start = np.where(np.array(layout.units) == "rad", state, 0.0) if space == "relative" else 0.0
    flat = (commands - start)[:, columns]
    chunks = flat.reshape(HORIZON, 2, -1).transpose(1, 0, 2)
    decoder = CodeDecoder(tokens_that_say(chunks, names, space), cell)
    found = decoder.actions(torch.zeros(16, dtype=torch.int64), state)
    np.testing.assert_allclose(found, commands, atol=1e-5)


def test_a_pose_out_of_reach_is_come_near_within_the_joint_limits(cell, motion):
    state, commands = motion
    chunks = np.stack([tool_chunk(cell, side, state, commands) for side in cell.arms])
    chunks[:, :, 0] += np.linspace(0.0, 3.0, HORIZON)  # [m]
    decoder = CodeDecoder(
        tokens_that_say(chunks, tool_layout(tuple(cell.arms)).names, "tool"), cell
    )
    found = decoder.actions(torch.zeros(16, dtype=torch.int64), state)
    assert np.isfinite(found).all()
    for side, arm in cell.arms.items():
        lower, upper = (np.array(one, np.float32) for one in arm.bounds())
        joints = found[:, cell.layout.action.slice(f"{side}_arm")]
        assert ((joints >= lower) & (joints <= upper)).all()


def test_tokens_of_other_arms_or_another_rate_are_refused(cell, motion):
    chunks = np.zeros((2, HORIZON, 7))
    names = tool_layout(("left", "third")).names
    with pytest.raises(CheckpointError, match=r"third_gripper, which .* has not"):
        CodeDecoder(tokens_that_say(chunks, names, "tool"), cell)
    mixed = list(tool_layout(("left", "right")).names)
    mixed[0], mixed[7] = mixed[7], mixed[0]
    with pytest.raises(CheckpointError, match="begin with those of no single arm"):
        CodeDecoder(tokens_that_say(chunks, mixed, "tool"), cell)
    names = tool_layout(("left", "right")).names
    with pytest.raises(CheckpointError, match=r"have 30 ticks per second, .* 20"):
        CodeDecoder(tokens_that_say(chunks, names, "tool", tick_rate=30.0), cell)
    other = dataclasses.replace(
        cell,
        vectors=dataclasses.replace(cell.vectors, state=tuple(reversed(cell.vectors.state))),
    )
    with pytest.raises(CheckpointError, match="must have the same names"):
        CodeDecoder(tokens_that_say(chunks, names, "tool"), other)
