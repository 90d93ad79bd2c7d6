import dataclasses
import json
import threading

import numpy as np
import pytest
import torch

from ate_core.errors import CheckpointError, LayoutError, UsageError
from ate_core.observation import Observation
from ate_policy.blind import BlindPolicy
from ate_policy.checkpoint import save_checkpoint
from ate_policy.continuation import Continuation
from ate_policy.loading import find_device, restore_model
from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig
from ate_policy.policy import Policy, checkpoint_of, load_policy
from ate_policy.transforms import ChunkTransform, Statistics, VectorStatistics
from ate_policy.untrained import untrained_policy


def observe(cell, objects=2, cameras=()):
    state = cell.layout.state.pack(
        {
            **{f"{side}_arm": arm.home for side, arm in cell.arms.items()},
            **{f"{side}_gripper": 1.0 for side in cell.grippers},
        }
    )
    poses = np.zeros((objects, 7), np.float32)
    poses[:, 6] = 1.0
    return Observation(
        state=state.astype(np.float32),
        images={key: np.full((540, 960, 3), 99, np.uint8) for key in cameras},
        environment=poses if objects else None,
        stamp_ns=0,
    )


@pytest.fixture
def checkpoint(cell):
    """A policy whose statistics are far from zero."""
    table = VectorStatistics(mean=(0.7,) * 16, std=(0.1,) * 16, q01=(0.4,) * 16, q99=(1.0,) * 16)
    objects = VectorStatistics(mean=(0.0,) * 12, std=(1.0,) * 12, q01=(0.0,) * 12, q99=(1.0,) * 12)
    torch.manual_seed(0)
    model = FlowPolicy(FlowPolicyConfig(objects=2))
    return checkpoint_of(
        "flow",
        model.config,
        weights=model.state_dict(),
        statistics=Statistics(state=table, action=table, environment=objects),
        contract=cell.canonical_text(),
        training={},
    )


@pytest.fixture
def saved(tmp_path, checkpoint):
    """The same on disk."""
    save_checkpoint(tmp_path / "policy", checkpoint)
    return tmp_path / "policy"


def test_a_chunk_is_in_robot_units(saved, cell):
    policy = load_policy(saved, cell)
    chunk = policy.infer(observe(cell), 0)
    assert chunk.shape == (policy.horizon, 16) == (20, 16)
    assert chunk.dtype == np.float32
    # an untrained network predicts about the mean, here 0.7 with a spread of 0.1
    assert np.abs(chunk - 0.7).max() < 0.3


def test_a_blind_policy_moves_without_looking(saved, cell):
    policy, scene = load_policy(saved, cell), observe(cell)
    blind = BlindPolicy(policy, scene)
    poses = np.array(scene.environment)
    poses[:, :3] += 0.5
    elsewhere = dataclasses.replace(scene, environment=poses)
    np.testing.assert_array_equal(blind.infer(elsewhere, 5), policy.infer(scene, 5))
    assert not np.array_equal(policy.infer(elsewhere, 5), policy.infer(scene, 5))
    moved = dataclasses.replace(scene, state=scene.state + np.float32(0.1))
    np.testing.assert_array_equal(blind.infer(moved, 5), policy.infer(moved, 5))


def test_a_seed_decides_the_chunk(saved, cell):
    policy, observation = load_policy(saved, cell), observe(cell)
    np.testing.assert_array_equal(policy.infer(observation, 5), policy.infer(observation, 5))
    assert not np.array_equal(policy.infer(observation, 5), policy.infer(observation, 6))
    generator = torch.Generator().manual_seed(5)
    np.testing.assert_array_equal(
        policy.infer(observation, generator), policy.infer(observation, 5)
    )


def test_a_loaded_policy_infers_what_the_saved_one_did(saved, checkpoint, cell):
    transform = ChunkTransform(checkpoint.statistics)
    original = Policy("flow", restore_model(checkpoint), transform, checkpoint.contract, {})
    expected = original.infer(observe(cell), 1)
    for loaded in (load_policy(saved), load_policy(saved, cell)):
        np.testing.assert_array_equal(loaded.infer(observe(cell), 1), expected)


def test_grippers_stay_between_closed_and_open(cell):
    policy = untrained_policy(cell, objects=2)
    columns = [cell.layout.action.slice(f"{side}_gripper").start for side in cell.grippers]
    policy._transform.action._std[:] = 50.0
    chunk = policy.infer(observe(cell), 0)
    assert np.abs(chunk).max() > 2.0
    assert chunk[:, columns].min() >= 0.0 and chunk[:, columns].max() <= 1.0


def test_a_policy_says_what_it_needs(cell):
    state, camera = (
        untrained_policy(cell, objects=3),
        untrained_policy(cell, cameras=("cam_high",)),
    )
    assert state.config.objects == 3 and not state.config.cameras
    assert camera.config.cameras == ("cam_high",) and not camera.config.objects
    assert (camera.config.image_height, camera.config.image_width) == (72, 128)


def test_a_camera_policy_takes_images_of_any_size(cell):
    policy = untrained_policy(cell, cameras=("cam_high", "cam_left_wrist"))
    assert policy.warm_up() > 0.0
    observation = observe(cell, objects=0, cameras=("cam_high", "cam_left_wrist"))
    assert np.isfinite(policy.infer(observation, 0)).all()


def test_observations_that_lack_something_are_refused(cell):
    policy = untrained_policy(cell, objects=2)
    with pytest.raises(LayoutError, match="no object poses"):
        policy.infer(observe(cell, objects=0), 0)
    with pytest.raises(LayoutError, match=r"\(3, 7\)"):
        policy.infer(observe(cell, objects=3), 0)
    bad = observe(cell)
    bad.state[4] = np.nan
    with pytest.raises(LayoutError, match="entry 4 is not finite"):
        policy.infer(bad, 0)
    with pytest.raises(LayoutError, match=r"shape \(14,\)"):
        policy.infer(dataclasses.replace(bad, state=np.zeros(14, np.float32)), 0)
    camera = untrained_policy(cell, cameras=("cam_high",))
    with pytest.raises(LayoutError, match=r"no image \['cam_high'\]"):
        camera.infer(observe(cell), 0)


def test_weights_that_do_not_fit_are_refused(saved):
    config = json.loads((saved / "config.json").read_text())
    config["model"]["width"] = 128
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_policy(saved)


def test_an_untrained_policy_does_not_disturb_the_random_stream(cell):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    untrained_policy(cell, objects=1)
    assert torch.equal(torch.rand(3), expected)


def test_a_device_that_is_not_there_is_refused(saved, cell):
    assert find_device("auto").type in ("cpu", "cuda")
    for name in ("warp", "meta", "mps", "cuda:x"):
        with pytest.raises(UsageError, match=f"device '{name}' is unknown"):
            load_policy(saved, cell, name)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="device 'cuda' is not there"):
            load_policy(saved, cell, "cuda")


def test_a_policy_that_reads_language_is_told_what_it_was_trained_with(saved, cell):
    policy = load_policy(saved, cell)
    assert policy.instruction_for("") == ""  # it reads none
    policy.config = dataclasses.replace(policy.config, language=True)
    policy.training = {"instructions": ["stack the cups"]}
    assert policy.instruction_for("") == "stack the cups"
    assert policy.instruction_for("wave") == "wave"
    assert policy.instruction_for(" Stack  the CUPS\n") == "stack the cups"
    policy.training = {"instructions": ["stack the cups", "wave"]}
    with pytest.raises(UsageError, match=r"knows 2: give one of \['stack the cups', 'wave'\]"):
        policy.instruction_for("")


def test_a_policy_without_training_plans_a_second_at_any_rate(cell):
    assert untrained_policy(cell, objects=1).horizon == 20
    assert untrained_policy(dataclasses.replace(cell, tick_rate=50.0), objects=1).horizon == 50


def test_a_chunk_that_goes_on_with_another_is_sampled_without_a_graph_and_that_is_said_once(
    saved, cell, caplog
):
    def replay(inputs, noise):
        raise AssertionError("the graph knows nothing of the chunk before")

    caplog.set_level("INFO", logger="ate_policy.chunk_makers")
    plain, graphed = load_policy(saved, cell), load_policy(saved, cell)
    graphed._maker._sample, graphed._maker._told_plain = replay, False  # as on a GPU
    seen = observe(cell)
    old = Continuation(actions=plain.infer(seen, 1), delay=3)
    for _ in range(2):
        np.testing.assert_array_equal(graphed.infer(seen, 2, old), plain.infer(seen, 2, old))
    told = [record.message for record in caplog.records]
    assert len(told) == 1 and "without a CUDA graph" in told[0]


def test_an_inference_that_was_given_up_never_runs_beside_the_next_one(saved, cell, monkeypatch):
    policy, inside, most = load_policy(saved, cell), [0], []

    def sample(inputs, noise):
        inside[0] += 1
        most.append(inside[0])
        wait.wait(0.05)
        inside[0] -= 1
        return noise

    wait = threading.Event()
    monkeypatch.setattr(policy._maker, "_sample", sample)
    calls = [threading.Thread(target=policy.infer, args=(observe(cell), 0)) for _ in range(3)]
    for call in calls:
        call.start()
    for call in calls:
        call.join(10.0)
    assert most == [1, 1, 1]
