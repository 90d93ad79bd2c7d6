"""Runs recorded with the words of an earlier version go on, or say what differs in today's words.

The records are those of real runs, with their paths replaced.
"""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from ate_core.errors import UsageError
from ate_policy.checkpoint import load_checkpoint
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.models.pi0_entry import Pi0Options
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.configs.old_words import preset_of, study_with_todays_words, with_todays_words
from training.configs.study import StudyConfig
from training.configs.train_vae import TrainVaeConfig
from training.finetune import finetune
from training.objectives.shifted_target import PaperGuidance
from training.study import study
from training.train_vae import train_vae

RECORDS = Path(__file__).parent / "records"


def record(name, **paths):
    text = (RECORDS / f"{name}.json").read_text()
    for word, path in paths.items():
        text = text.replace(f'"{word}"', json.dumps(str(path)))
    return json.loads(text)


def test_a_guided_run_of_then_resumes_bit_for_bit(tmp_path, episodes, stop_at):
    vae = tmp_path / "vae"
    settings = {"steps": 2, "batch": 4, "latent": 8, "width": 16, "single_stage": True}
    train_vae(TrainVaeConfig(stage=2, output=vae, episodes=episodes, **settings))
    whole = FinetuneConfig(
        episodes=episodes,
        output=tmp_path / "whole",
        guidance=PaperGuidance(vae=vae),
        optim=OptimOptions(batch=8),
        steps=6,
        save_every=3,
        log_every=1,
    )
    assert finetune(whole) == 0
    stop_at(3)
    cut = dataclasses.replace(whole, output=tmp_path / "cut")
    assert finetune(cut) == 130
    then = record("paper", EPISODES=episodes, VAE=vae, RUN=cut.output)
    (cut.output / "run.json").write_text(json.dumps(then))
    other = PaperGuidance(vae=vae, strength=2.0)
    with pytest.raises(UsageError, match=r"settings: guidance.strength: 2.0 \(was 1.0\). Resume"):
        finetune(dataclasses.replace(cut, resume=True, guidance=other))
    with pytest.raises(UsageError, match=r"policy.preset: tiny \(was small\)"):
        finetune(dataclasses.replace(cut, resume=True, policy=FlowOptions(preset="tiny")))
    assert finetune(dataclasses.replace(cut, resume=True)) == 0
    first, second = (load_checkpoint(config.output).weights for config in (whole, cut))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_of_then_is_recorded_as_the_same_run_today():
    config = FinetuneConfig(
        episodes=Path("EPISODES"),
        output=Path("RUN"),
        init=Path("INIT"),
        policy=Pi0Options(preset="tiny", train="lora", lora_rank=4),
        optim=OptimOptions(batch=8, learning_rate=3e-4),
        horizon=20,
        steps=6,
        save_every=3,
        log_every=1,
    )
    assert config.upgrade(record("pi0_adapters")) == config.record()
    assert config.upgrade(config.record()) == config.record()


def test_checkpoints_of_then_and_of_imports_tell_their_preset():
    assert preset_of(record("pi0_adapters")) == "tiny"
    assert preset_of({"imported_from": "somewhere", "preset": "full"}) == "full"
    assert preset_of(with_todays_words(record("paper"))) == "small"
    assert preset_of({"steps": 1}) is None


def test_a_study_of_then_can_grow(tmp_path):
    config = StudyConfig(output=tmp_path, guidance=("none", "paper:0.3"))
    now = config.record()
    then = {key: value for key, value in now.items() if key != "policy"}
    then |= {"policy": "flow", "preset": "small", "guidance_cap": 0.1}
    assert study_with_todays_words(then) == now
    assert study_with_todays_words(now) == now
    (tmp_path / "study.json").write_text(json.dumps({**then, "guidance_cap": 0.3}))
    with pytest.raises(UsageError, match=r"guidance_cap 0.3, .* --guidance none paper:0.3"):
        study(config)


def test_a_guided_record_of_then_without_its_vae_stays_json(tmp_path):
    then = {key: value for key, value in record("paper").items() if key != "vae"}
    now = with_todays_words(then)
    assert "vae" not in now["guidance"] and now["guidance"]["cap"] == 0.1
    assert json.loads(json.dumps(now)) == now
