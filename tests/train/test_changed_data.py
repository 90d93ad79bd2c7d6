"""A run goes on with the data that it began with, or not at all."""

import dataclasses

import pytest

from ate_core.errors import UsageError
from ate_policy.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from tests.train.test_align_video import SHORT as ALIGN
from tests.train.test_align_video import TOKENS, film
from tests.train.test_finetune import SHORT as TUNE
from tests.train.test_finetune import VAE
from training.align_video import align_video
from training.configs.align_video import AlignVideoConfig
from training.configs.finetune import FinetuneConfig
from training.configs.train_tokens import TrainTokensConfig
from training.configs.train_vae import TrainVaeConfig
from training.data.episode_file import read_episode, write_episode
from training.finetune import finetune
from training.loop.opened import ENCODER, LABELS
from training.loop.run_folder import DATA
from training.objectives.shifted_target import PaperGuidance
from training.train_tokens import train_tokens
from training.train_vae import PRIOR, train_vae
from training.vae.storage import MOMENTS

TRAINERS = {
    "finetune": (finetune, lambda data, run: FinetuneConfig(episodes=data, output=run, **TUNE)),
    "train-vae": (
        train_vae,
        lambda data, run: TrainVaeConfig(
            stage=1, recordings=(data,), motions=0, output=run, save_every=3, **VAE
        ),
    ),
    "train-tokens": (
        train_tokens,
        lambda data, run: TrainTokensConfig(episodes=(data,), output=run, **TOKENS),
    ),
}


def one_more(data, write_demonstrations):
    write_demonstrations(data / "more", count=1, seed=9)
    (data / "more" / "episode_000000.hdf5").rename(data / "episode_000003.hdf5")


def one_less(data, _):
    (data / "episode_000001.hdf5").unlink()


def one_changed(data, _):
    path = data / "episode_000001.hdf5"
    episode = read_episode(path)
    path.unlink()
    write_episode(path, dataclasses.replace(episode, action=episode.action + 1e-3))


@pytest.mark.parametrize("change", [one_more, one_less, one_changed])
@pytest.mark.parametrize("name", TRAINERS)
def test_a_run_is_not_resumed_with_other_data(tmp_path, write_demonstrations, name, change):
    train, config_of = TRAINERS[name]
    data = write_demonstrations(tmp_path / "data")
    config = config_of(data, tmp_path / "run")
    assert train(config) == 0
    goes_on = dataclasses.replace(config, resume=True)
    assert train(goes_on) == 0
    change(data, write_demonstrations)
    with pytest.raises(UsageError, match="episodes were added, taken away, labelled or changed"):
        train(goes_on)


@pytest.mark.parametrize("told", [{"instruction": "put it down"}, {"seed": 77}])
def test_a_run_is_not_resumed_with_episodes_of_which_something_else_is_told(
    tmp_path, write_demonstrations, told
):
    data = write_demonstrations(tmp_path / "data")
    config = FinetuneConfig(episodes=data, output=tmp_path / "run", **TUNE)
    assert finetune(config) == 0
    path = data / "episode_000001.hdf5"
    episode = read_episode(path)
    path.unlink()
    write_episode(path, dataclasses.replace(episode, **told))
    with pytest.raises(UsageError, match=r"what is told of .* \(instructions, seeds, lengths\)"):
        finetune(dataclasses.replace(config, resume=True))
    (tmp_path / "run" / LABELS).unlink()  # as a run of an older version
    assert finetune(dataclasses.replace(config, resume=True)) == 0


def with_other_weights(run):
    """Change what a finished run learned, where it lies; its moments as well."""
    folder = (run / "last").resolve()
    stored, moments = load_checkpoint(folder), read_tensors(folder / f"{MOMENTS}.safetensors")
    weights = {name: value + 0.01 for name, value in stored.weights.items()}
    moved = {MOMENTS: {name: value + 0.5 for name, value in moments.items()}}
    save_checkpoint(folder, dataclasses.replace(stored, weights=weights, extra=moved))


def test_a_run_is_not_resumed_with_another_action_vae(tmp_path, write_demonstrations):
    data = write_demonstrations(tmp_path / "data")
    first = TrainVaeConfig(stage=1, recordings=(data,), motions=0, output=tmp_path / "one", **VAE)
    second = TrainVaeConfig(
        stage=2, episodes=data, prior=first.output, output=tmp_path / "two", **VAE
    )
    assert train_vae(first) == train_vae(second) == 0
    guided = FinetuneConfig(
        episodes=data,
        output=tmp_path / "run",
        guidance=PaperGuidance(vae=second.output),
        **TUNE,
    )
    assert finetune(guided) == 0
    assert finetune(dataclasses.replace(guided, resume=True)) == 0
    with_other_weights(first.output)
    with pytest.raises(UsageError, match=rf"the prior of {first.output} is not the one"):
        train_vae(dataclasses.replace(second, resume=True))
    (second.output / PRIOR).unlink()  # as a run of an older version
    assert train_vae(dataclasses.replace(second, resume=True)) == 0
    with_other_weights(second.output)
    with pytest.raises(UsageError, match=rf"the encoder of {second.output} is not the one"):
        finetune(dataclasses.replace(guided, resume=True))
    (guided.output / ENCODER).unlink()
    assert finetune(dataclasses.replace(guided, resume=True)) == 0


def test_a_run_keeps_its_statistics_and_sizes_where_its_start_was_replaced(
    tmp_path, write_demonstrations
):
    data, other = (
        write_demonstrations(tmp_path / name, seed=seed)
        for seed, name in enumerate(("data", "other"))
    )
    base = FinetuneConfig(episodes=data, output=tmp_path / "base", **TUNE)
    on = dataclasses.replace(base, init=base.output, output=tmp_path / "on")
    assert finetune(base) == finetune(on) == 0
    began = load_checkpoint(on.output)
    base.output.rename(tmp_path / "former")
    assert finetune(dataclasses.replace(base, episodes=other)) == 0
    assert load_checkpoint(base.output).statistics != began.statistics
    assert finetune(dataclasses.replace(on, resume=True)) == 0
    assert load_checkpoint(on.output).statistics == began.statistics


def test_alignment_is_not_resumed_with_other_clips(tmp_path, write_demonstrations):
    robot, clips = (
        film(write_demonstrations(tmp_path / name, seed=seed))
        for seed, name in enumerate(("robot", "clips"))
    )
    tokens = tmp_path / "tokens"
    assert train_tokens(TrainTokensConfig(output=tokens, episodes=(robot,), **TOKENS)) == 0
    config = AlignVideoConfig(
        output=tmp_path / "run", tokens=tokens, episodes=(robot,), videos=(clips,), **ALIGN
    )
    assert align_video(config) == 0
    path = clips / "episode_000001.hdf5"
    episode = read_episode(path)
    shown = episode.images["cam_high"]
    still = dataclasses.replace(episode, images={"cam_high": [shown[0]] * len(shown)})
    path.unlink()
    write_episode(path, still)
    with pytest.raises(UsageError, match="episodes were added, taken away, labelled or changed"):
        align_video(dataclasses.replace(config, resume=True))


def test_a_run_older_than_the_digest_takes_the_data_for_its_own(tmp_path, write_demonstrations):
    data = write_demonstrations(tmp_path / "data")
    config = FinetuneConfig(episodes=data, output=tmp_path / "run", **TUNE)
    assert finetune(config) == 0
    (tmp_path / "run" / DATA).unlink()
    assert finetune(dataclasses.replace(config, resume=True)) == 0
    one_changed(data, None)
    with pytest.raises(UsageError, match="changed"):
        finetune(dataclasses.replace(config, resume=True))
