import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest
import simplejpeg
import torch

from ate_core.errors import EpisodeError, TrainingError, UsageError
from ate_policy.checkpoint import read_tensors
from ate_policy.token_folder import load_tokens
from training import align_video as command
from training.align_video import align_video
from training.clap.align_storage import FEATURES, load_alignment
from training.clap.features import FeatureConfig
from training.clap.pseudo_labels import NAME, read_pseudo_labels
from training.clap.video_only import read_clip, read_clips
from training.configs.align_video import AlignVideoConfig
from training.configs.label_video import LabelVideoConfig
from training.configs.train_tokens import TrainTokensConfig
from training.data.episode_file import read_episode, write_episode
from training.data.set_files import label_file
from training.label_video import label_video
from training.train_tokens import train_tokens

TOKENS = {
    "steps": 4,
    "batch": 8,
    "codes": 2,
    "codebook": 8,
    "code_width": 4,
    "width": 16,
    "feedforward": 32,
    "heads": 2,
}
SHORT = {
    "features": FeatureConfig(height=16, width=24, patch=8, size=6),
    "steps": 4,
    "batch": 4,
    "env_codebook": 4,
    "width": 16,
    "feedforward": 32,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "save_every": 2,
    "log_every": 1,
    "restart_every": 1,
}


def film(folder):
    """Give each episode of a folder pictures in which a square moves with the first joint."""
    for path in sorted(folder.glob("episode_*.hdf5")):
        episode = read_episode(path)
        jpegs = []
        for row in episode.action:
            picture = np.full((16, 24, 3), 60, np.uint8)
            at = int(np.clip(20 * row[0], 0, 18))
            picture[4:10, at : at + 6] = 220
            jpegs.append(simplejpeg.encode_jpeg(picture, 90, "RGB"))
        write_episode(path, dataclasses.replace(episode, images={"cam_high": jpegs}))
    return folder


@pytest.fixture(scope="module")
def filmed(tmp_path_factory, write_demonstrations):
    """Episodes of the robot and clips, with moving pictures."""
    root = tmp_path_factory.mktemp("filmed")
    return tuple(
        film(write_demonstrations(root / name, count=3, seed=seed))
        for name, seed in (("robot", 1), ("clips", 2))
    )


@pytest.fixture(scope="module")
def tokens(tmp_path_factory, filmed):
    """A short run of action tokens in tool space."""
    folder = tmp_path_factory.mktemp("tokens") / "run"
    assert train_tokens(TrainTokensConfig(output=folder, episodes=filmed[:1], **TOKENS)) == 0
    return folder


@pytest.fixture(scope="module")
def aligned(tmp_path_factory, filmed, tokens):
    """A short run of aligned video."""
    config = AlignVideoConfig(
        output=tmp_path_factory.mktemp("aligned") / "run",
        tokens=tokens,
        episodes=filmed[:1],
        videos=filmed[1:],
        **SHORT,
    )
    before = {path: path.read_bytes() for path in tokens.rglob("*") if path.is_file()}
    assert align_video(config) == 0
    assert before == {path: path.read_bytes() for path in tokens.rglob("*") if path.is_file()}
    return config


def weights_of(run, step=4, name="model"):
    return read_tensors(run / f"step_{step:06d}" / f"{name}.safetensors")


def require_equal(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def test_the_codes_of_the_tokens_are_the_same_bytes_after_training_and_restarts(aligned, tokens):
    stored = load_alignment(aligned.output)
    frozen = load_tokens(tokens)
    ours, theirs = stored.model.action_book.codes, frozen.model.codebook.codes
    assert ours.numpy().tobytes() == theirs.numpy().tobytes()
    assert stored.tokens == frozen.identity
    first, last = weights_of(aligned.output, 2), weights_of(aligned.output, 4)
    assert not torch.equal(first["env_book.codes"], last["env_book.codes"])
    assert not torch.equal(first["encoder.down_action.weight"], last["encoder.down_action.weight"])


def test_a_checkpoint_tells_what_it_measured_and_what_the_data_are(aligned):
    stored = load_alignment(aligned.output)
    training = stored.checkpoint.training
    assert training["measures"].keys() == {"top1", "candidates", "accuracy", "majority"}
    assert training["data"]["robot_windows"] > 0 and training["data"]["video_windows"] > 0
    assert stored.camera == "cam_high"
    assert "it shows no people" in stored.checkpoint.card
    assert "cosine_own" in (aligned.output / "log.jsonl").read_text()


def test_a_resumed_run_is_the_same_to_the_bit(aligned, tmp_path, ended_before):
    config = dataclasses.replace(aligned, output=tmp_path / "cut")
    with ended_before(command, 2), pytest.raises(KeyboardInterrupt):
        align_video(config)
    assert align_video(dataclasses.replace(config, resume=True)) == 0
    for name in ("model", "training_state"):
        require_equal(weights_of(aligned.output, name=name), weights_of(config.output, name=name))


def test_hidden_actions_that_are_no_numbers_change_no_weight(aligned, filmed, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for path in sorted(filmed[1].glob("episode_*.hdf5")):
        (hidden / path.name).write_bytes(path.read_bytes())
        with h5py.File(hidden / path.name, "r+") as file:
            for key in ("/action", "/observations/qpos", "/observations/qvel"):
                file[key][...] = np.nan
    config = dataclasses.replace(aligned, output=tmp_path / "run", videos=(hidden,))
    assert align_video(config) == 0
    require_equal(weights_of(aligned.output), weights_of(config.output))
    for folder in (filmed[1], hidden):
        assert label_video(LabelVideoConfig(aligned=aligned.output, videos=(folder,))) == 0
    assert (filmed[1] / NAME).read_bytes() == (hidden / NAME).read_bytes()
    (filmed[1] / NAME).unlink()


def test_temperature_and_bias_have_no_weight_decay(aligned, tmp_path):
    config = dataclasses.replace(
        aligned, output=tmp_path / "run", weight_contrast=0.0, weight_decay=0.5
    )
    assert align_video(config) == 0
    contrast = load_alignment(config.output).model.contrast
    assert contrast.bias.item() == -10.0
    assert contrast.log_scale.exp().item() == pytest.approx(10.0)


@pytest.mark.parametrize(
    "change",
    [
        {"match": "reference", "network": "attention"},
        {"match": "paper", "videos": (), "network": "attention"},
    ],
)
def test_the_released_and_the_papers_recipe_train(aligned, tmp_path, change):
    config = dataclasses.replace(aligned, output=tmp_path / "run", steps=2, **change)
    assert align_video(config) == 0
    recipe = load_alignment(config.output).checkpoint.training["recipe"]
    assert recipe["predicts"] == "frame"


def test_shuffled_labels_give_other_weights_and_are_told(aligned, tmp_path):
    config = dataclasses.replace(aligned, output=tmp_path / "run", steps=2, shuffle_labels=True)
    assert align_video(config) == 0
    assert "control" in load_alignment(config.output).checkpoint.card
    one, other = (weights_of(run, 2) for run in (config.output, aligned.output))
    assert not torch.equal(one["encoder.down_action.weight"], other["encoder.down_action.weight"])


def test_labels_are_codes_of_windows_in_which_something_moves(aligned, filmed, tmp_path, capsys):
    clips = tmp_path / "clips"
    clips.mkdir()
    for path in filmed[1].glob("episode_*.hdf5"):
        (clips / path.name).write_bytes(path.read_bytes())
    still = read_episode(clips / "episode_000001.hdf5")
    images = {"cam_high": [still.images["cam_high"][0]] * len(still)}
    write_episode(clips / "episode_000001.hdf5", dataclasses.replace(still, images=images))
    config = LabelVideoConfig(aligned=aligned.output, videos=(clips,), tokens=aligned.tokens)
    assert label_video(config) == 0
    labels = read_pseudo_labels(clips)
    dropped = labels.about["still_transitions_dropped"]
    assert labels.windows + dropped == 3 * 20 and dropped >= 20
    assert f"{dropped} dropped in which nothing is seen to move" in capsys.readouterr().out
    assert not len(labels.episodes["episode_000001"].ticks)
    assert labels.tokens == load_tokens(aligned.tokens).identity
    assert labels.arms == ("left", "right") and labels.codes_per_arm == 2
    with pytest.raises(UsageError, match="is there: add --replace"):
        label_video(config)
    before = (clips / NAME).read_bytes()
    assert label_video(dataclasses.replace(config, replace=True)) == 0
    assert (clips / NAME).read_bytes() == before


def test_tokens_of_another_space_rate_or_run_are_refused_by_name(
    aligned, filmed, tmp_path, cell, write_demonstrations
):
    joints = tmp_path / "joints"
    settings = TrainTokensConfig(output=joints, episodes=filmed[:1], space="relative", **TOKENS)
    train_tokens(settings)
    with pytest.raises(TrainingError, match="has space relative, needed is tool"):
        align_video(dataclasses.replace(aligned, output=tmp_path / "a", tokens=joints))

    slow = dataclasses.replace(cell, tick_rate=10.0)
    other = film(write_demonstrations(tmp_path / "slow", cell=slow))
    with pytest.raises(TrainingError, match="has tick_rate 20, needed is 10"):
        align_video(dataclasses.replace(aligned, output=tmp_path / "b", episodes=(other,)))
    with pytest.raises(EpisodeError, match="has tick_rate 10, needed is 20"):
        align_video(dataclasses.replace(aligned, output=tmp_path / "c", videos=(other,)))

    again = tmp_path / "again"
    train_tokens(TrainTokensConfig(output=again, episodes=filmed[:1], seed=1, **TOKENS))
    with pytest.raises(TrainingError, match=r"has sha256 .*: these are other tokens"):
        label_video(LabelVideoConfig(aligned=aligned.output, videos=filmed[1:], tokens=again))
    assert not (filmed[1] / NAME).exists()


def test_a_run_does_not_go_on_with_other_tokens_in_the_same_folder(aligned, filmed, tmp_path):
    folder = tmp_path / "tokens"
    train_tokens(TrainTokensConfig(output=folder, episodes=filmed[:1], **TOKENS))
    config = dataclasses.replace(aligned, output=tmp_path / "run", tokens=folder, steps=2)
    assert align_video(config) == 0
    other = tmp_path / "other"
    train_tokens(TrainTokensConfig(output=other, episodes=filmed[:1], seed=1, **TOKENS))
    (folder / "last").unlink()
    (folder / "last").symlink_to(other / "last")
    with pytest.raises(UsageError, match=r"--tokens .* is not the one .*: give the former ones"):
        align_video(dataclasses.replace(config, resume=True))


def test_clips_without_the_camera_or_motion_are_refused(aligned, filmed, tmp_path, episodes):
    with pytest.raises(EpisodeError, match=r"has no images of cam_low, it has \['cam_high'\]"):
        read_clip(filmed[1] / "episode_000000.hdf5", "cam_low")
    with pytest.raises(TrainingError, match=r"has no images of cam_high, it has \[\]"):
        align_video(dataclasses.replace(aligned, output=tmp_path / "a", episodes=(episodes,)))
    (tmp_path / "episode_000000.hdf5").write_bytes(b"no such file")
    with pytest.raises(EpisodeError, match=r"cannot be read .*convert its bag again"):
        read_clip(tmp_path / "episode_000000.hdf5", "cam_high")


def test_clips_that_failed_are_not_looked_at(filmed, tmp_path):
    folder = shutil.copytree(filmed[1], tmp_path / "clips")
    label_file(folder / "episode_000001.hdf5").write_text('{"outcome": "failure"}')
    rate = read_episode(folder / "episode_000000.hdf5").cell.tick_rate
    names = [clip.name for clip in read_clips(folder, "cam_high", rate)]
    assert names == ["episode_000000", "episode_000002"]
    for index in (0, 2):
        label_file(folder / f"episode_{index:06d}.hdf5").write_text('{"outcome": "failure"}')
    with pytest.raises(EpisodeError, match=r"none of the 3 clips in .* is a success"):
        read_clips(folder, "cam_high", rate)


def test_features_travel_with_the_checkpoint(aligned):
    weights = weights_of(aligned.output)
    assert {f"{FEATURES}mean", f"{FEATURES}basis"} <= weights.keys()
    told = json.loads((aligned.output / "last" / "config.json").read_text())
    assert told["model"]["features"]["kind"] == "pca"


def test_a_folder_of_the_robot_is_no_video(tmp_path):
    folders = {"episodes": (tmp_path / "a",), "videos": (tmp_path / "b" / ".." / "a",)}
    with pytest.raises(UsageError, match=r"--episodes and --videos has .*/a 2 times"):
        AlignVideoConfig(output=tmp_path / "run", tokens=tmp_path / "tokens", **folders)
