import dataclasses
import json
import signal

import numpy as np
import pytest
import torch

from ate_core.errors import TrainingError, UsageError
from ate_policy.transforms import ChunkTransform
from training import train_vae as command
from training.configs.finetune import FinetuneConfig
from training.configs.train_vae import TrainVaeConfig
from training.data.pretraining import MotionSource, make_chunks
from training.finetune import finetune
from training.objectives.shifted_target import PaperGuidance
from training.train_vae import train_vae
from training.vae import chunks as chunks_module
from training.vae.moments import aggregate_moments
from training.vae.recipe import recipe_of
from training.vae.storage import load_vae

SHORT = {"steps": 4, "batch": 8, "latent": 8, "width": 16, "log_every": 1, "save_every": 2}


@pytest.fixture
def motion(monkeypatch):
    """Two bodies with different ranges in the place of recordings and generated motion."""
    rng = np.random.default_rng(0)
    sources = [
        MotionSource(name, [rng.normal(mean, std, (30, 16)) for _ in range(2)])
        for name, mean, std in (("small", 0.0, 0.1), ("large", 2.0, 1.0))
    ]
    monkeypatch.setattr(chunks_module, "load_sources", lambda *_, **__: sources)
    return sources


def logged(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_each_source_is_normalised_on_its_own(motion, cell):
    made = make_chunks(motion, cell.layout.action, 20)
    assert made.counts == {"small": 60, "large": 60}
    assert made.statistics["large"].action.mean[0] == pytest.approx(2.0, abs=0.5)
    for part in made.chunks.split(60):
        assert abs(part[:10].mean().item()) < 0.2
        assert part[:10].std().item() == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("space", ["absolute", "relative"])
@pytest.mark.parametrize("repeat_tail", [True, False])
def test_chunks_are_cut_out_of_their_rows_when_they_are_asked_for(cell, space, repeat_tail):
    """Those of all sources in order, as if all were held; two episodes never share one."""
    rng = np.random.default_rng(0)
    sources = [
        MotionSource(name, [rng.normal(size=(n, 16)).astype(np.float32) for n in lengths])
        for name, lengths in (("one", (25, 31)), ("two", (22,)))
    ]
    made = make_chunks(sources, cell.layout.action, 20, space=space, repeat_tail=repeat_tail)
    expected = []
    for source in sources:
        encode = ChunkTransform(made.statistics[source.name]).encode_chunk
        for motion in map(torch.from_numpy, source.motions):
            for tick in range(len(motion) if repeat_tail else len(motion) - 19):
                rows = torch.arange(tick, tick + 20).clamp(max=len(motion) - 1)
                expected.append(encode(motion[rows][None], motion[tick][None])[0])
    assert made.chunks.shape == (len(expected), 20, 16)
    assert sum(made.counts.values()) == len(made.chunks) == len(expected)
    torch.testing.assert_close(made.chunks[:], torch.stack(expected), rtol=0.0, atol=0.0)
    some = torch.randint(len(expected), (40,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(made.chunks[some], torch.stack(expected)[some])
    assert torch.equal(made.chunks[3::7], torch.stack(expected)[3::7])
    assert torch.equal(torch.cat(list(made.chunks.split(9))), made.chunks[:])
    with pytest.raises(IndexError, match=f"of {len(expected)}"):
        made.chunks[torch.tensor([len(expected)])]


def test_motion_shorter_than_a_chunk_is_refused_by_name(cell):
    rows = [np.random.default_rng(0).normal(size=(length, 16)) for length in (30, 5, 12)]
    source = MotionSource("robot", rows, ["a.hdf5", "b.hdf5", "c.hdf5"])
    with pytest.raises(TrainingError, match=r"b.hdf5 \(5\), c.hdf5 \(12\) of 3 .* --horizon to 5"):
        make_chunks([source], cell.layout.action, 20)


def test_dimensions_that_never_change_are_named(cell, caplog):
    rows = np.random.default_rng(0).normal(size=(30, 16))
    rows[:, 2] = 0.3
    made = make_chunks([MotionSource("robot", [rows])], cell.layout.action, 20)
    assert "robot: left_arm_3 never changes" in caplog.text
    assert made.chunks[:][..., 2].abs().max() < 1e-5
    with pytest.raises(TrainingError, match="nothing moves"):
        make_chunks([MotionSource("idle", [np.ones((30, 16))])], cell.layout.action, 20)


def test_relative_chunks_are_differences_from_the_measured_state(cell):
    layout = cell.layout.action
    joints, grippers = list(layout.columns("rad")), list(layout.columns("ratio"))
    rows = np.random.default_rng(0).normal(size=(30, 16)).cumsum(axis=0)
    states = rows - 0.25
    source = MotionSource("robot", [rows], states=[states])
    raw = make_chunks([source], layout, 20, space="relative", normalise=False).chunks[:].numpy()
    np.testing.assert_allclose(raw[3, 5, joints], (rows[8] - states[3])[joints], rtol=1e-5)
    np.testing.assert_allclose(raw[3, 5, grippers], rows[8, grippers], rtol=1e-5)
    scaled = make_chunks([source], layout, 20, space="relative").chunks[:].flatten(0, 1)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(16), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(16), atol=1e-4, rtol=0.0)
    bare = make_chunks([MotionSource("robot", [rows])], layout, 20, space="relative")
    assert bare.chunks[:][:, 0, joints].std(0).max() < 1e-5  # all begin at their own first action
    cut = MotionSource("robot", [rows], ["a.hdf5"], states=[states[1:]])
    with pytest.raises(TrainingError, match=r"a\.hdf5 has 29 states for 30 actions"):
        make_chunks([cut], layout, 20, space="relative")


@pytest.mark.usefixtures("motion")
def test_both_stages_and_the_policy_share_the_space_of_actions(tmp_path, episodes, cell):
    for space in ("absolute", "relative"):
        train_vae(TrainVaeConfig(stage=1, output=tmp_path / space, actions=space, **SHORT))
    first = load_vae(tmp_path / "relative").checkpoint
    assert first.statistics.relative == cell.layout.action.columns("rad")
    assert set(first.training["relative_to"].values()) == {"first action"}
    config = TrainVaeConfig(
        stage=2,
        output=tmp_path / "two",
        episodes=episodes,
        prior=tmp_path / "absolute",
        actions="relative",
        **SHORT,
    )
    with pytest.raises(TrainingError, match="was trained on absolute actions, this run on rel"):
        train_vae(config)
    assert train_vae(dataclasses.replace(config, prior=tmp_path / "relative")) == 0
    policy = FinetuneConfig(
        episodes=episodes,
        output=tmp_path / "run",
        guidance=PaperGuidance(vae=tmp_path / "two"),
        steps=2,
    )
    with pytest.raises(TrainingError, match="trained on relative actions, the policy on absolute"):
        finetune(policy)
    assert finetune(dataclasses.replace(policy, actions="relative")) == 0


@pytest.mark.usefixtures("motion")
def test_stage_one_leaves_a_vae_with_its_moments(tmp_path, capsys):
    assert train_vae(TrainVaeConfig(stage=1, output=tmp_path / "one", **SHORT)) == 0
    assert "GB for weights, gradients, Adam's moments" in capsys.readouterr().out
    stored = load_vae(tmp_path / "one")
    assert stored.stage == 1
    assert stored.checkpoint.training["sources"] == {"small": 60, "large": 60}
    assert set(logged(tmp_path / "one")[0]) >= {"loss", "reconstruction", "kl", "mmd"}


def test_stored_moments_are_those_of_clean_chunks(tmp_path, motion, cell):
    train_vae(TrainVaeConfig(stage=1, output=tmp_path / "one", **SHORT))
    stored = load_vae(tmp_path / "one")
    expected = aggregate_moments(stored.model, make_chunks(motion, cell.layout.action, 20).chunks)
    torch.testing.assert_close(stored.moments.mean, expected.mean)
    torch.testing.assert_close(stored.moments.variance, expected.variance)


@pytest.mark.usefixtures("motion")
def test_stage_two_is_pulled_to_the_moments_of_stage_one(tmp_path, episodes):
    train_vae(TrainVaeConfig(stage=1, output=tmp_path / "one", **SHORT))
    shifted = load_vae(tmp_path / "one")
    shift_moments(tmp_path / "one", 5.0)
    config = TrainVaeConfig(
        stage=2,
        output=tmp_path / "two",
        episodes=episodes,
        prior=tmp_path / "one",
        **SHORT | {"steps": 60, "weight_kl": 1.0, "learning_rate": 1e-2, "log_every": 20},
    )
    assert train_vae(config) == 0
    assert shifted.moments.mean.abs().max() < 2.0
    assert load_vae(tmp_path / "two").moments.mean.mean() > 1.5
    assert logged(tmp_path / "two")[-1]["kl"] < logged(tmp_path / "two")[0]["kl"]


def shift_moments(run, value):
    from safetensors.torch import load_file, save_file

    file = run / "last" / "moments.safetensors"
    moments = load_file(file)
    save_file(
        {"mean": torch.full_like(moments["mean"], value), "variance": moments["variance"]}, file
    )


@pytest.mark.usefixtures("motion")
def test_a_prior_that_does_not_fit_is_refused(tmp_path, episodes):
    train_vae(TrainVaeConfig(stage=1, output=tmp_path / "one", **SHORT))
    settings = {"stage": 2, "episodes": episodes, "prior": tmp_path / "one"}
    with pytest.raises(TrainingError, match="has latent 8, this run 4: give --latent 8"):
        train_vae(TrainVaeConfig(output=tmp_path / "a", **settings, **SHORT | {"latent": 4}))
    with pytest.raises(TrainingError, match="chunks of 20 actions, this run on 10: give both"):
        train_vae(TrainVaeConfig(output=tmp_path / "c", horizon=10, **settings, **SHORT))
    with pytest.raises(TrainingError, match=r"only one of .* has --no-normalise"):
        train_vae(TrainVaeConfig(output=tmp_path / "d", normalise=False, **settings, **SHORT))
    train_vae(TrainVaeConfig(output=tmp_path / "two", **settings, **SHORT))
    settings["prior"] = tmp_path / "two"
    with pytest.raises(TrainingError, match="is of stage 2: give a stage-1"):
        train_vae(TrainVaeConfig(output=tmp_path / "b", **settings, **SHORT))


@pytest.mark.usefixtures("motion")
def test_a_prior_whose_run_was_stopped_is_refused_unless_that_checkpoint_is_named(
    tmp_path, episodes, monkeypatch
):
    original, calls = command.loss_of, []

    def interrupted(*arguments):
        calls.append(None)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return original(*arguments)

    first = TrainVaeConfig(stage=1, output=tmp_path / "one", **SHORT)
    monkeypatch.setattr(command, "loss_of", interrupted)
    assert train_vae(first) == 130
    second = {"stage": 2, "episodes": episodes, **SHORT}
    for named in (tmp_path / "one", tmp_path / "one" / "last"):
        with pytest.raises(TrainingError, match=rf"was stopped after step 2 of {SHORT['steps']}"):
            train_vae(TrainVaeConfig(output=tmp_path / "two", prior=named, **second))
    meant = tmp_path / "one" / "step_000002"
    assert train_vae(TrainVaeConfig(output=tmp_path / "three", prior=meant, **second)) == 0


def test_arguments_of_the_wrong_stage_are_refused(tmp_path):
    with pytest.raises(UsageError, match="stage 2 needs --episodes"):
        TrainVaeConfig(stage=2, output=tmp_path)
    with pytest.raises(UsageError, match="stage 1 takes"):
        TrainVaeConfig(stage=1, output=tmp_path, episodes=tmp_path)
    with pytest.raises(UsageError, match="no data"):
        TrainVaeConfig(stage=1, output=tmp_path, motions=0)
    with pytest.raises(UsageError, match="at least 2 chunks"):
        TrainVaeConfig(stage=1, output=tmp_path, batch=1)


@pytest.mark.usefixtures("motion")
def test_the_released_behaviour_is_stored_by_name(tmp_path, episodes):
    settings = SHORT | {"latent": 16, "match": "reference"}
    train_vae(TrainVaeConfig(stage=1, output=tmp_path / "one", **settings))
    train_vae(
        TrainVaeConfig(
            stage=2, output=tmp_path / "two", episodes=episodes, prior=tmp_path / "one", **settings
        )
    )
    first, second = load_vae(tmp_path / "one"), load_vae(tmp_path / "two")
    training = second.checkpoint.training
    assert training["recipe"]["tail"] == "drop"
    assert training["chunks"] == 3 * (40 - 19)  # whole windows only
    assert set(training["deviations"]) == {"kl", "mmd_distance", "mmd_target", "moments"}
    assert "| kl | forward | reverse |" in second.checkpoint.card
    assert "kl" not in first.checkpoint.training["deviations"]
    clean = aggregate_moments(first.model, torch.randn(50, 20, 16))
    assert not torch.allclose(first.moments.variance, clean.variance, rtol=0.01)


def test_a_single_stage_has_the_standard_prior(tmp_path, episodes):
    config = TrainVaeConfig(
        stage=2, output=tmp_path / "two", episodes=episodes, single_stage=True, **SHORT
    )
    train_vae(config)
    stored = load_vae(tmp_path / "two")
    assert stored.stage == 2
    assert stored.checkpoint.training["deviations"]["prior"] == "N(0, I) (paper: stage 1)"
    with pytest.raises(UsageError, match="--single-stage to go without; not both"):
        dataclasses.replace(config, prior=tmp_path / "one")


def test_without_normalisation_chunks_keep_their_units(tmp_path, episodes, cell):
    config = TrainVaeConfig(
        stage=2,
        output=tmp_path / "two",
        episodes=episodes,
        single_stage=True,
        normalise=False,
        **SHORT,
    )
    data = chunks_module.load_chunks(config, recipe_of(config))
    assert set(data.statistics.action.std) == {1.0} and set(data.statistics.action.mean) == {0.0}
    assert data.chunks[0, 0].tolist() == pytest.approx([0.5] * 16)  # robot units: where all begin


@pytest.mark.usefixtures("motion")
def test_bfloat16_trains_like_float32(tmp_path):
    for precision in ("fp32", "bf16"):
        settings = SHORT | {"steps": 12, "precision": precision}
        train_vae(TrainVaeConfig(stage=1, output=tmp_path / precision, **settings))
    exact, rounded = (logged(tmp_path / name) for name in ("fp32", "bf16"))
    for one, other in zip(exact, rounded, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.05)
    assert any(one["loss"] != other["loss"] for one, other in zip(exact, rounded, strict=True))


def test_epochs_need_a_whole_batch(tmp_path, episodes):
    config = TrainVaeConfig(
        stage=2,
        output=tmp_path / "two",
        episodes=episodes,
        single_stage=True,
        match="reference",
        **SHORT | {"batch": 100, "latent": 16},
    )
    with pytest.raises(TrainingError, match="63 chunks are fewer than a batch of 100"):
        train_vae(config)
