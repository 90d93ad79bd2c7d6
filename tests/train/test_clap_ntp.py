"""CLAP's token policy in `ate finetune`: it learns the codes of tokens that travel with it."""

import dataclasses
import json
import shutil
import signal

import h5py
import numpy as np
import pytest
import torch

from ate_core.errors import CheckpointError, EpisodeError, TrainingError, UsageError
from ate_core.observation import Observation
from ate_policy.checkpoint import load_checkpoint
from ate_policy.continuation import Continuation
from ate_policy.models.clap_ntp import ClapNtpOptions
from ate_policy.models.clap_rf import ClapRfOptions
from ate_policy.models.flow_policy import FlowOptions, FlowPolicyConfig
from ate_policy.policy import load_policy
from ate_policy.token_folder import load_tokens
from ate_policy.transforms import ChunkTransform
from training.clap import writing
from training.clap.chunk_codes import chunk_codes
from training.clap.pseudo_labels import (
    NAME,
    EpisodeLabels,
    PseudoLabels,
    digest_of_times,
    write_pseudo_labels,
)
from training.clap.watched_windows import read_windows
from training.clap.written_batches import CodeSampler, WristDropout
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.configs.train_tokens import TrainTokensConfig
from training.data.dataset import gather
from training.data.micro_batch import MicroBatch, split
from training.data.set_files import label_file
from training.data.trajectory import read_trajectories
from training.data.watched_episode import read_watched
from training.finetune import finetune
from training.objectives.anchor import AnchorGuidance
from training.objectives.knowledge import token_loss
from training.train_tokens import train_tokens

TOKENS = {
    "steps": 2,
    "batch": 8,
    "codes": 8,
    "codebook": 8,
    "code_width": 4,
    "width": 16,
    "feedforward": 32,
    "heads": 2,
}
CONFIG = FlowPolicyConfig(objects=1)
"""What a policy of these episodes reads."""
MICRO = [p for i in range(2) for p in split(8, processes=2, process=i, accumulate=1)]
SHORT = {"steps": 2, "optim": OptimOptions(batch=8, warmup=0), "log_every": 1, "save_every": 1}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory, episodes):
    """Runs of `ate train-tokens` by space, hardly trained."""
    folder = tmp_path_factory.mktemp("tokens")
    for space in ("tool", "relative"):
        config = TrainTokensConfig(
            output=folder / space, episodes=(episodes,), space=space, **TOKENS
        )
        assert train_tokens(config) == 0
    return folder


def configured(tokens, episodes, output, space="tool", **options):
    policy = ClapNtpOptions(preset="tiny", tokens=tokens / space, **options)
    return FinetuneConfig(episodes=episodes, output=output, policy=policy, **SHORT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tokens, episodes):
    """The configuration of a run, and its run."""
    config = configured(tokens, episodes, tmp_path_factory.mktemp("ntp") / "run")
    assert finetune(config) == 0
    return config


def weights(run):
    return load_checkpoint(run).weights


def differing(first, second):
    return {name for name in first if not torch.equal(first[name], second[name])}


def observed(episodes, tick=5):
    first = read_trajectories(episodes)[0]
    return Observation(state=first.state[tick], environment=first.environment[tick], stamp_ns=0)


@pytest.mark.parametrize("space", ["tool", "relative"])
def test_sixteen_codes_become_a_chunk_of_joints_and_no_noise_is_in_it(
    tmp_path, tokens, episodes, cell, space
):
    assert finetune(configured(tokens, episodes, tmp_path / "run", space)) == 0
    policy, seen = load_policy(tmp_path / "run", cell), observed(episodes)
    chunk = policy.infer(seen)
    assert chunk.shape == (20, 16) and chunk.dtype == np.float32 and np.isfinite(chunk).all()
    np.testing.assert_array_equal(chunk, policy.infer(seen, 3))  # no noise
    codes = policy._model.chunk(policy.prepare(seen))
    assert codes.shape == (1, 16)
    if space == "tool":
        for side, arm in cell.arms.items():
            joints = chunk[:, cell.layout.action.slice(f"{side}_arm")]
            lower, upper = (np.array(one, np.float32) for one in arm.bounds())
            assert ((joints >= lower) & (joints <= upper)).all()


def test_the_tokens_travel_inside_the_checkpoint_to_the_byte(trained, tokens, cell, tmp_path):
    stored = load_checkpoint(trained.output)
    folder = trained.output / "last" / "tokens"
    assert stored.model["tokens"] == str(folder.resolve())
    names = {path.name for path in folder.iterdir()}
    assert "training_state.safetensors" not in names
    for name in names:
        assert (folder / name).read_bytes() == (tokens / "tool" / "last" / name).read_bytes()
    assert not any(name.startswith("tokens") for name in stored.weights)
    assert "as 16 codes of 8 (tool space, tokens" in stored.card
    assert stored.training["tokens"]["sha256"] == stored.model["tokens_sha256"]


def test_tokens_that_were_exchanged_are_refused(trained, tokens, cell, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.output / "last", run)
    shutil.rmtree(run / "tokens")
    with pytest.raises(CheckpointError, match=r"no checkpoint"):
        load_policy(run, cell)
    shutil.copytree(tokens / "relative" / "last", run / "tokens")
    with pytest.raises(CheckpointError, match=r"policy was trained with .*copy the checkpoint"):
        load_policy(run, cell)


def test_it_resumes_to_the_same_weights(tmp_path, trained, monkeypatch):
    stopped = dataclasses.replace(trained, output=tmp_path / "run")

    def interrupted(*given):
        signal.raise_signal(signal.SIGTERM)
        return token_loss(*given)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "token_loss", interrupted)
        assert finetune(stopped) == 130
    assert finetune(dataclasses.replace(stopped, resume=True)) == 0
    assert not differing(weights(trained.output), weights(tmp_path / "run"))


def test_it_learns_codes_and_goes_on_from_its_own_weights(tmp_path, trained, tokens, episodes):
    longer = dataclasses.replace(trained, output=tmp_path / "run", steps=60, save_every=60)
    assert finetune(longer) == 0
    lines = [json.loads(one) for one in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
    assert 0.0 <= lines[-1]["right_codes"] <= 1.0
    again = dataclasses.replace(
        trained,
        output=tmp_path / "again",
        init=tmp_path / "run",
        policy=ClapNtpOptions(preset="tiny"),
    )
    assert finetune(again) == 0
    other = dataclasses.replace(again, output=tmp_path / "other", policy=trained.policy)
    assert finetune(other) == 0  # the same tokens, named once more
    joints = dataclasses.replace(trained.policy, tokens=tokens / "relative")
    with pytest.raises(TrainingError, match=r"tokens .*relative.* has space relative, needed is"):
        finetune(dataclasses.replace(again, output=tmp_path / "not", policy=joints))


def test_tokens_of_another_horizon_are_refused_by_name(tmp_path, trained):
    with pytest.raises(TrainingError, match=r"has horizon 20, needed is 8: give tokens of the"):
        finetune(dataclasses.replace(trained, output=tmp_path / "run", horizon=8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"guidance": AnchorGuidance(), "init": "run"}, "guidance:anchor steers .*leave it out"),
        ({"max_delay": 4}, "max_delay is 4, but policy:clap_ntp writes a chunk as a whole"),
        ({"actions": "relative"}, "policy:clap_ntp cannot learn .*the space of its tokens"),
    ],
)
def test_words_that_mean_nothing_to_it_are_refused_before_anything_starts(
    tmp_path, trained, change, message
):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(trained, output=tmp_path / "run", **change)


def test_a_run_without_tokens_is_told_where_they_come_from(tmp_path, episodes):
    config = FinetuneConfig(
        episodes=episodes, output=tmp_path / "run", policy=ClapNtpOptions(preset="tiny"), **SHORT
    )
    with pytest.raises(UsageError, match=r"none are named: give --policy.tokens, a run of"):
        finetune(config)


def test_it_cannot_go_on_with_a_chunk(trained, episodes, cell):
    policy = load_policy(trained.output, cell)
    old = Continuation(actions=np.zeros((3, 16)), delay=1)
    assert not policy.continues
    with pytest.raises(UsageError, match="use chunk mode synchronous or temporal_ensemble"):
        policy.infer(observed(episodes), None, old)


def test_pictures_of_wrists_are_replaced_by_the_standing_camera(cell):
    cameras = cell.layout.cameras
    dropout = WristDropout(0.5, cell, cameras)
    images = torch.arange(len(cameras)).float().view(1, -1, 1, 1, 1).expand(400, -1, 3, 2, 2)
    dropped = dropout.draw(400, torch.Generator().manual_seed(0))
    seen = dropout.apply(images, dropped)[:, :, 0, 0, 0]
    head = cameras.index("cam_high")
    assert (seen[:, head] == head).all()
    for column in set(range(len(cameras))) - {head}:
        share = (seen[:, column] == head).float().mean()
        assert 0.4 < share < 0.6 and ((seen[:, column] == head) == dropped[:, column]).all()
    with pytest.raises(UsageError, match="none stands"):
        WristDropout(0.5, cell, ("cam_left_wrist", "cam_right_wrist"))


def labelled(folder, stored, count=2, **change):
    """Labels of the episodes of a folder: every fifth tick, codes at random."""
    rng = np.random.default_rng(1)
    labels = {}
    for path in sorted(folder.glob("episode_*.hdf5"))[:count]:
        watched = read_watched(path)
        ticks = np.arange(0, len(watched) - 20, 5)
        labels[path.stem] = EpisodeLabels(
            ticks=ticks,
            codes=rng.integers(0, 8, (len(ticks), 2, 8)),
            confidence=rng.uniform(size=(len(ticks), 2)).astype(np.float32),
            rows=len(watched),
            times=digest_of_times(watched.timestamps_ns),
        )
    given = {"tokens": stored.identity, "arms": ("left", "right"), "codebook": 8} | change
    write_pseudo_labels(folder / NAME, PseudoLabels(episodes=labels, **given))
    return folder


@pytest.fixture
def watched(tmp_path, write_demonstrations, tokens):
    """Labelled episodes."""
    folder = write_demonstrations(tmp_path / "watched", count=2, seed=5)
    return labelled(folder, load_tokens(tokens / "tool"))


def hide(folder):
    """Overwrite what nobody may look at."""
    for path in folder.glob("episode_*.hdf5"):
        with h5py.File(path, "r+") as file:
            for name in ("action", "observations/qpos", "observations/qvel"):
                file[name][...] = np.nan


def test_actions_of_labelled_episodes_are_never_opened(tmp_path, trained, watched):
    policy = dataclasses.replace(trained.policy, pseudo=watched)
    seeing = dataclasses.replace(trained, output=tmp_path / "seeing", policy=policy)
    assert finetune(seeing) == 0
    hide(watched)
    assert finetune(dataclasses.replace(seeing, output=tmp_path / "hidden")) == 0
    assert not differing(weights(tmp_path / "seeing"), weights(tmp_path / "hidden"))
    assert differing(weights(trained.output), weights(tmp_path / "seeing"))
    told = load_checkpoint(tmp_path / "seeing").training["watched"]
    assert "windows of 2 episodes without actions" in told


def test_a_run_is_not_resumed_with_other_labels(tmp_path, trained, watched, tokens):
    policy = dataclasses.replace(trained.policy, pseudo=watched)
    config = dataclasses.replace(trained, output=tmp_path / "run", policy=policy)
    assert finetune(config) == 0
    assert finetune(dataclasses.replace(config, resume=True)) == 0
    labelled(watched, load_tokens(tokens / "tool"), count=1)
    with pytest.raises(UsageError, match=r"--policy.pseudo .* is not the one that"):
        finetune(dataclasses.replace(config, resume=True))


def test_a_share_of_each_batch_is_labelled_and_carries_its_own_codes(trained, watched, tokens):
    stored = load_tokens(tokens / "tool")
    data = gather(read_trajectories(trained.episodes), CONFIG)
    codes = chunk_codes(stored, data, "the tokens")
    transform = ChunkTransform(data.statistics())
    sure = {"confidence": 0.3, "image_memory_gb": 1.0, "arms": ("left", "right")}
    windows = read_windows(watched, stored, CONFIG, data.statistics(), **sure)
    assert windows.left_out > 0 and len(windows.ticks) > 0
    sampler = CodeSampler(data, codes, transform, batch=8, watched=windows, share=0.25, seed=0)
    draw, device = sampler.draw(), torch.device("cpu")
    whole = sampler.load(draw, MicroBatch(0, 8, True), device).inputs
    assert torch.equal(whole.codes[:6], codes[draw.seen.rows])
    assert torch.equal(whole.codes[6:], windows.codes[draw.watched.rows])
    assert torch.equal(whole.state[6:], torch.zeros(2, 16))  # the mean stands for it
    parts = [sampler.load(draw, part, device).inputs for part in MICRO]
    for name in ("state", "environment", "codes"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(whole, name))
    assert sum((part.instructions for part in parts), ()) == whole.instructions


def test_labelled_episodes_of_other_objects_are_refused(
    tmp_path, trained, tokens, write_demonstrations
):
    stored = load_tokens(tokens / "tool")
    named = write_demonstrations(tmp_path, count=1, change={"object_names": ("cup",)})
    sure = {"confidence": 0.3, "image_memory_gb": 1.0, "arms": ("left", "right")}
    given = (labelled(named, stored), stored, CONFIG, load_checkpoint(trained.output).statistics)
    assert len(read_windows(*given, **sure, object_names=("cup",)).ticks)
    message = "episode_000000 has poses of cup, the demonstrations of bun in this order"
    with pytest.raises(EpisodeError, match=message):
        read_windows(*given, **sure, object_names=("bun",))


def test_labels_of_other_tokens_or_of_another_episode_are_refused(
    tmp_path, trained, watched, tokens, write_demonstrations
):
    stored = load_tokens(tokens / "tool")
    output = tmp_path / "run"
    config = dataclasses.replace(
        trained, output=output, policy=dataclasses.replace(trained.policy, pseudo=watched)
    )
    labelled(watched, stored, tokens=dataclasses.replace(stored.identity, sha256="0" * 64))
    with pytest.raises(TrainingError, match=r"labels .* has sha256 0000.*these are other tokens"):
        finetune(config)
    shutil.rmtree(output)
    labelled(watched, stored, arms=("right", "left"))
    with pytest.raises(TrainingError, match=r"have arms .*'right', 'left'.*label the episodes"):
        finetune(config)
    shutil.rmtree(output)
    labelled(watched, stored)
    judged = label_file(watched / "episode_000000.hdf5")
    judged.write_text('{"outcome": "failure"}')
    with pytest.raises(EpisodeError, match=r"is no success by now \(failure\): label"):
        finetune(config)
    judged.unlink()
    shutil.rmtree(output)
    write_demonstrations(watched, count=1, seed=5, ticks=50)
    with pytest.raises(EpisodeError, match=r"has 50 ticks at other times than the episode that"):
        finetune(config)
    for options, message in (
        ({"pseudo_share": 0.5}, "would ignore: leave it out, or give --policy.pseudo"),
        ({"pseudo": watched, "pseudo_share": 1.0}, "pseudo_share is 1.0, must be above 0"),
        ({"pseudo": watched, "pseudo_confidence": 2.0}, "must be 0 to 1"),
    ):
        with pytest.raises(UsageError, match=message):
            ClapNtpOptions(**options)


def test_a_flow_head_starts_from_the_trunk_of_a_token_policy(tmp_path, trained, episodes, cell):
    started = FinetuneConfig(
        episodes=episodes,
        output=tmp_path / "rf",
        init=trained.output,
        policy=ClapRfOptions(preset="tiny", trunk="frozen"),
        **SHORT,
    )
    assert finetune(started) == 0
    mine, theirs = weights(tmp_path / "rf"), weights(trained.output)
    trunk = {name for name in theirs if name.startswith("trunk.")}
    assert trunk and all(torch.equal(mine[name], theirs[name]) for name in trunk)
    stored = load_checkpoint(tmp_path / "rf")
    sha256 = load_checkpoint(trained.output).model["tokens_sha256"]
    assert stored.model["tokens_sha256"] == sha256
    assert load_tokens(tmp_path / "rf" / "last" / "tokens").identity.sha256 == sha256
    assert stored.statistics.state == load_checkpoint(trained.output).statistics.state
    assert load_policy(tmp_path / "rf", cell).continues
    joints = dataclasses.replace(started, output=tmp_path / "relative", actions="relative")
    assert finetune(joints) == 0  # what the codes meant is no matter to the head
    again = dataclasses.replace(started, output=tmp_path / "again", init=tmp_path / "rf")
    assert finetune(again) == 0
    for change, message in (
        ({"horizon": 8}, "has horizon 20, this run 8"),
        ({"policy": ClapRfOptions(preset="tiny", language=True)}, "has language False, this run"),
    ):
        with pytest.raises(TrainingError, match=message):
            finetune(dataclasses.replace(started, output=tmp_path / "not", **change))
        shutil.rmtree(tmp_path / "not")
    flow = dataclasses.replace(started, policy=FlowOptions(preset="tiny"))
    with pytest.raises(CheckpointError, match="is of kind clap_ntp, must be flow"):
        finetune(dataclasses.replace(flow, output=tmp_path / "not"))
