"""Durations stay what they are at any tick rate: of chunks, videos and rollouts."""

import dataclasses
import json
import math
from fractions import Fraction

import av
import numpy as np
import pytest

from ate_core.contract import load_cell, packaged_cell
from ate_core.errors import TrainingError
from ate_policy.policy import load_policy
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.configs.train_vae import TrainVaeConfig
from training.evaluate import EvaluateConfig, evaluate
from training.evaluation.motion import jerk
from training.finetune import finetune
from training.reporting.video import write_video
from training.studies import rollout
from training.train_vae import train_vae
from training.vae.storage import load_vae, require_same_demonstrations, require_same_space

SHORT = {"steps": 2, "optim": OptimOptions(batch=8), "log_every": 1}
VAE = {"steps": 2, "batch": 8, "log_every": 1, "latent": 8, "width": 16}


@pytest.fixture(params=[10.0, 30.0], ids=["10 Hz", "30 Hz"])
def cell_file(request, tmp_path):
    """The packaged cell at another rate."""
    text = packaged_cell().read_text()
    assert "tick_rate: 20.0" in text
    file = tmp_path / "cell.yaml"
    file.write_text(text.replace("tick_rate: 20.0", f"tick_rate: {request.param}"))
    return file


def test_chunks_of_both_vaes_and_the_policy_cover_a_second_at_any_rate(
    tmp_path, cell_file, write_demonstrations
):
    cell = load_cell(cell_file, "sim")
    rate = round(cell.tick_rate)
    episodes = write_demonstrations(tmp_path / "episodes", cell=cell)
    first, second, run = (tmp_path / name for name in ("one", "two", "policy"))
    train_vae(TrainVaeConfig(stage=1, output=first, cell=cell_file, motions=2, **VAE))
    train_vae(TrainVaeConfig(stage=2, output=second, episodes=episodes, prior=first, **VAE))
    finetune(FinetuneConfig(episodes=episodes, output=run, **SHORT))
    assert [load_vae(folder).model.config.horizon for folder in (first, second)] == [rate, rate]
    policy = load_policy(run, cell)
    require_same_space(load_vae(second), policy.statistics, policy.horizon)
    with pytest.raises(TrainingError, match=r"another action layout or tick rate .*tick_rate"):
        require_same_demonstrations(load_vae(second), load_cell(hardware="sim").layout, "")
    for folder in (first, second, run):  # the number, not what it was derived from
        assert json.loads((folder / "run.json").read_text())["horizon"] == rate
    assert policy.training["horizon"] == rate
    assert finetune(FinetuneConfig(episodes=episodes, output=run, resume=True, **SHORT)) == 0


def test_generated_motion_takes_as_long_at_any_rate(cell_file):
    from ate_sim.embodiments import generate_motion

    cell = load_cell(cell_file)
    [usual], [ours] = generate_motion(1, 3), generate_motion(1, 3, cell=cell)
    assert len(ours) / cell.tick_rate == pytest.approx(len(usual) / 20.0, abs=0.2)


def test_a_rollout_ends_in_time_at_any_rate(
    tmp_path, cell_file, write_demonstrations, monkeypatch
):
    cell = load_cell(cell_file, "sim")
    episodes = write_demonstrations(tmp_path / "episodes", cell=cell, task="pick_place", objects=2)
    finetune(FinetuneConfig(episodes=episodes, output=tmp_path / "run", **SHORT))
    config = EvaluateConfig(
        checkpoints=(tmp_path / "run",), output=tmp_path / "out.json", cell=cell_file, limit=2.0
    )
    config = dataclasses.replace(config, episodes=1, untrained=False, blind=False)
    for rule in ("MOST_VAIN", "MOST_FAR"):
        monkeypatch.setattr(rollout, rule, math.inf)
    assert evaluate(config) == 0
    [[trial]] = json.loads(config.output.read_text())["policies"].values()
    assert trial["duration"] == pytest.approx(2.0) and not trial["success"]


def test_a_policy_of_short_chunks_is_rolled_out_whole(tmp_path, write_demonstrations):
    episodes = write_demonstrations(tmp_path / "episodes", task="pick_place", objects=2)
    finetune(FinetuneConfig(episodes=episodes, output=tmp_path / "run", horizon=8, **SHORT))
    config = EvaluateConfig(
        checkpoints=(tmp_path / "run",), output=tmp_path / "out.json", limit=1.0, episodes=1
    )
    assert evaluate(dataclasses.replace(config, untrained=False, blind=False)) == 0


def test_a_prior_of_another_rate_is_refused(tmp_path, cell_file, episodes):
    prior, settings = tmp_path / "one", {**VAE, "horizon": 20}
    train_vae(TrainVaeConfig(stage=1, output=prior, cell=cell_file, motions=2, **settings))
    with pytest.raises(TrainingError, match=r"layout or tick rate .*train stage 1 with --cell"):
        train_vae(
            TrainVaeConfig(
                stage=2, output=tmp_path / "two", episodes=episodes, prior=prior, **settings
            )
        )


@pytest.mark.parametrize("rate", [7.5, 10.0, 30.0])
def test_a_video_shows_one_frame_per_tick(tmp_path, rate):
    frames = [np.full((32, 32, 3), 4 * i, np.uint8) for i in range(round(2 * rate))]
    write_video(tmp_path / "v.mp4", frames, rate)
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(rate)
        assert float(stream.duration * stream.time_base) == pytest.approx(2.0)


@pytest.mark.parametrize("rate", [10.0, 20.0, 30.0])
def test_the_jerk_of_a_motion_does_not_depend_on_the_rate(rate):
    t = np.arange(0.0, 2.0, 1.0 / rate)
    states = np.stack([t**3, -(t**3)], axis=1)
    assert jerk(states, rate) == pytest.approx(6.0)
