"""`ate finetune --knowledge`: what holds a trunk, what it costs nothing, and what is refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from ate_core.errors import AteError, EpisodeError, TrainingError, UsageError
from ate_policy.checkpoint import load_checkpoint, resolve_checkpoint, save_checkpoint
from ate_policy.models.clap_ntp import ClapNtp, ClapNtpConfig
from ate_policy.models.clap_rf import PRESETS, ClapRf, ClapRfConfig, ClapRfOptions
from ate_policy.models.clap_trunk import TrunkConfig
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.policy import checkpoint_of
from ate_policy.token_folder import load_tokens
from training.clap.reference import load_reference
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.configs.train_tokens import TrainTokensConfig
from training.data.dataset import gather
from training.data.trajectory import read_trajectories
from training.finetune import finetune
from training.train_tokens import train_tokens

TINY = ClapRfOptions(preset="tiny")
SHORT = {"steps": 2, "optim": OptimOptions(batch=8, warmup=0), "log_every": 1, "save_every": 1}
CODES, BOOK = 2, 8


def write_tokens(folder, episodes, seed=0, **change):
    small = {"code_width": 4, "width": 16, "feedforward": 32, "heads": 2, "batch": 8, "steps": 1}
    sizes = {"codes": CODES, "codebook": BOOK, **small, **change}
    assert (
        train_tokens(TrainTokensConfig(output=folder, episodes=(episodes,), seed=seed, **sizes))
        == 0
    )
    return folder / "last"


def write_policies(folder, episodes, tokens, seed=0, **change):
    """A token policy of random weights, and a flow head on its trunk."""
    trajectories = read_trajectories(episodes)
    sizes = {**PRESETS["tiny"].sizes, "horizon": 20, "objects": 1}
    sizes |= {"codes": 2 * CODES, "codebook": BOOK, "tokens": str(tokens), **change}
    sizes["tokens_sha256"] = load_tokens(tokens).identity.sha256
    config = ClapRfConfig(**sizes)
    data = gather(trajectories, config)
    torch.manual_seed(seed)
    trunk = {f.name: getattr(config, f.name) for f in dataclasses.fields(TrunkConfig)}
    models = {"clap_ntp": ClapNtp(ClapNtpConfig(**trunk)), "clap_rf": ClapRf(config)}
    models["clap_rf"].trunk.load_state_dict(models["clap_ntp"].trunk.state_dict())
    folder.mkdir()
    for kind, model in models.items():
        known = {"weights": model.state_dict(), "statistics": data.statistics()}
        stored = checkpoint_of(kind, model.config, contract=data.contract, training={}, **known)
        save_checkpoint(folder / kind, stored)
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory, episodes):
    """Token policy `clap_ntp` and flow head `clap_rf` on one trunk."""
    folder = tmp_path_factory.mktemp("start")
    return write_policies(folder / "both", episodes, write_tokens(folder / "tokens", episodes))


@pytest.fixture(scope="module")
def plain(start, episodes, tmp_path_factory):
    """The configuration of a plain run, and its run."""
    output = tmp_path_factory.mktemp("plain") / "run"
    config = FinetuneConfig(
        episodes=episodes, output=output, init=start / "clap_rf", policy=TINY, **SHORT
    )
    assert finetune(config) == 0
    return config


def held(plain, start, output, weight=0.5, **settings):
    knowledge = {"knowledge": start / "clap_ntp", "knowledge_weight": weight}
    return dataclasses.replace(plain, output=output, **knowledge, **settings)


def weights(run):
    return load_checkpoint(run).weights


def differing(first, second):
    assert first.keys() == second.keys()
    return {
        name.split(".")[1] if name.startswith("trunk") else "head"
        for name in first
        if not torch.equal(first[name], second[name])
    }


def logged(run, key):
    return [json.loads(line).get(key) for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_held_run_logs_its_divergence_and_keeps_the_reference_out_of_the_checkpoint(
    tmp_path, plain, start
):
    config = held(plain, start, tmp_path / "run")
    assert finetune(config) == 0
    assert logged(config.output, "knowledge")[0] == pytest.approx(0.0, abs=1e-5)
    assert logged(config.output, "knowledge")[1] > 0.0
    assert differing(weights(plain.output), weights(config.output)) >= {"codes", "blocks"}
    assert differing(weights(start / "clap_rf"), weights(plain.output)) == {
        "head",
        "prompt",
        "blocks",
    }
    stored = resolve_checkpoint(config.output)
    names = {path.name for path in stored.iterdir()}
    assert not {name for name in names if "knowledge" in name or "reference" in name}
    assert "tokens" in names and "| knowledge |" in (stored / "README.md").read_text()
    assert load_checkpoint(stored).training["knowledge_weight"] == 0.5


def test_weight_zero_is_plain_training_to_the_bit(tmp_path, plain, start):
    config = held(plain, start, tmp_path / "run", weight=0.0)
    assert finetune(config) == 0
    assert not differing(weights(plain.output), weights(config.output))
    assert logged(plain.output, "loss") == logged(config.output, "loss")


@pytest.mark.parametrize(("direction", "contexts"), [("paper", "target"), ("reference", "old")])
def test_a_held_run_resumes_to_the_same_weights(
    tmp_path, plain, start, stop_at, monkeypatch, direction, contexts, write_demonstrations
):
    old = None if contexts == "target" else write_demonstrations(tmp_path / "old", seed=5)
    settings = {"knowledge_direction": direction, "knowledge_contexts": contexts}
    whole = held(plain, start, tmp_path / "whole", knowledge_episodes=old, **settings)
    cut = dataclasses.replace(whole, output=tmp_path / "cut")
    assert finetune(whole) == 0
    with monkeypatch.context():
        stop_at(0)
        assert finetune(cut) == 130
    monkeypatch.undo()
    assert finetune(dataclasses.replace(cut, resume=True)) == 0
    assert not differing(weights(whole.output), weights(cut.output))
    assert differing(weights(plain.output), weights(cut.output))


def test_old_contexts_read_observations_alone_and_leave_the_data_as_it_is_drawn(
    tmp_path, plain, start, write_demonstrations
):
    folders = [write_demonstrations(tmp_path / name, seed=7, count=2) for name in ("one", "two")]
    for path in folders[1].iterdir():
        relabel(path)
    runs = []
    for folder in folders:
        config = held(plain, start, tmp_path / f"run_{folder.name}", weight=5.0)
        config = dataclasses.replace(config, knowledge_contexts="old", knowledge_episodes=folder)
        assert finetune(config) == 0
        runs.append(config.output)
    assert not differing(weights(runs[0]), weights(runs[1]))
    assert logged(runs[0], "flow_loss")[0] == logged(plain.output, "loss")[0]


def relabel(path):
    """Other actions behind the first motion, which decides where a demonstration begins."""
    from training.data.episode_file import read_episode, write_episode

    episode = read_episode(path)
    action = episode.action.copy()
    action[5:] = np.random.default_rng(0).uniform(0.1, 0.9, action[5:].shape)
    path.unlink()
    write_episode(path, dataclasses.replace(episode, action=action.astype(np.float32)))


def test_old_contexts_of_other_objects_are_refused(tmp_path, plain, start, write_demonstrations):
    folders = [
        write_demonstrations(tmp_path / name, count=1, change={"object_names": (name,)})
        for name in ("cup", "bun")
    ]
    config = held(plain, start, tmp_path / "run", episodes=folders[0])
    config = dataclasses.replace(config, knowledge_contexts="old", knowledge_episodes=folders[1])
    with pytest.raises(EpisodeError, match=r"bun has poses of bun, \S+/cup of cup in this order"):
        finetune(config)


def test_a_run_that_recalls_other_observations_is_refused_on_resume(
    tmp_path, plain, start, write_demonstrations
):
    old = write_demonstrations(tmp_path / "old", seed=7, count=2)
    recalls = {"knowledge_contexts": "old", "knowledge_episodes": old}
    config = held(plain, start, tmp_path / "run", **recalls)
    assert finetune(config) == 0
    for path in old.iterdir():
        relabel(path)  # actions are not read
    assert finetune(dataclasses.replace(config, resume=True)) == 0
    write_demonstrations(old, seed=8, count=1)
    with pytest.raises(UsageError, match=r"--knowledge-episodes .* is not the one that"):
        finetune(dataclasses.replace(config, resume=True))


def test_an_insulated_trunk_learns_its_codes_from_the_tokens_of_its_start(tmp_path, plain, start):
    policy = dataclasses.replace(TINY, trunk="insulated")
    config = dataclasses.replace(plain, output=tmp_path / "run", policy=policy)
    assert finetune(config) == 0
    assert logged(config.output, "token_loss")[0] == pytest.approx(
        2 * CODES * np.log(BOOK), rel=0.5
    )
    assert differing(weights(start / "clap_rf"), weights(config.output)) == {
        *("head", "prompt", "blocks", "codes")
    }


def test_a_reference_that_changed_is_refused_on_resume(tmp_path, plain, start):
    mine = tmp_path / "both"
    shutil.copytree(start, mine)
    config = held(plain, mine, tmp_path / "run")
    assert finetune(config) == 0
    stored = load_checkpoint(mine / "clap_ntp")
    moved = {
        name: value + 1e-3 if value.is_floating_point() else value
        for name, value in stored.weights.items()
    }
    save_checkpoint(mine / "clap_ntp", dataclasses.replace(stored, weights=moved))
    with pytest.raises(UsageError, match=r"the reference is not the one that .*knowledge.sha256"):
        finetune(dataclasses.replace(config, resume=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"trunk_width": 64},
            r"clap_ntp has trunk_width 64, this policy 32: give the token policy",
        ),
        ({"trunk_depth": 3}, "has trunk_depth 3, this policy 2"),
        ({"codebook": 16}, "has codebook 16, this policy 8"),
        ({"horizon": 8}, "has horizon 8, this policy 20"),
    ],
)
def test_another_trunk_is_refused_by_name(tmp_path, plain, start, episodes, change, message):
    other = write_policies(tmp_path / "other", episodes, start / "clap_ntp" / "tokens", **change)
    with pytest.raises(TrainingError, match=message):
        finetune(held(plain, other, tmp_path / "run"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "clap_ntp has sha256 .*: these are other tokens"),
        ({"space": "relative"}, "clap_ntp has space relative, needed is tool"),
        ({"horizon": 10}, "clap_ntp has horizon 10, needed is 20"),
    ],
)
def test_other_tokens_are_refused_by_name(tmp_path, plain, start, episodes, change, message):
    other = write_policies(
        tmp_path / "other", episodes, write_tokens(tmp_path / "tokens", episodes, **change)
    )
    with pytest.raises(TrainingError, match=message):
        finetune(held(plain, other, tmp_path / "run"))


def test_other_statistics_are_refused_with_the_word_that_keeps_them(
    tmp_path, plain, start, write_demonstrations
):
    episodes = write_demonstrations(tmp_path / "episodes", seed=3)
    other = held(plain, start, tmp_path / "run", episodes=episodes, statistics="data")
    with pytest.raises(
        TrainingError, match="other statistics than this run: give --statistics init"
    ):
        finetune(other)
    assert finetune(dataclasses.replace(other, output=tmp_path / "kept", statistics="init")) == 0


def test_a_policy_without_codes_is_told_of_the_anchor(tmp_path, plain, start):
    with pytest.raises(UsageError, match=r"policy:flow writes no codes.*guidance:anchor"):
        held(plain, start, tmp_path / "run", policy=FlowOptions(preset="tiny"), init=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init": None}, r"starts from random weights: give --init .*clap_ntp"),
        ({"knowledge": None}, "which this run would ignore: leave it out, or give --knowledge"),
        ({"knowledge_contexts": "old"}, "no episodes are named: give --knowledge-episodes"),
        ({"knowledge_episodes": "x"}, "knowledge_episodes is x, which this run would ignore"),
        ({"knowledge_weight": -1.0}, "knowledge_weight is -1"),
        ({"policy": dataclasses.replace(TINY, trunk="frozen")}, "the trunk is frozen and stays"),
        ({"policy": dataclasses.replace(TINY, trunk="insulated")}, "the trunk is insulated and"),
    ],
)
def test_what_would_hold_nothing_is_refused(tmp_path, plain, start, change, message):
    with pytest.raises(AteError, match=message):
        finetune(dataclasses.replace(held(plain, start, tmp_path / "run"), **change))


def test_a_folder_of_another_kind_or_without_tokens_is_no_reference(tmp_path, start):
    with pytest.raises(AteError, match="is of kind clap_rf, must be clap_ntp"):
        load_reference(start / "clap_rf", torch.device("cpu"))
    stored = load_checkpoint(start / "clap_ntp")
    save_checkpoint(
        tmp_path / "bare", dataclasses.replace(stored, model={**stored.model, "tokens": ""})
    )
    with pytest.raises(AteError, match="holds no action tokens"):
        load_reference(tmp_path / "bare", torch.device("cpu"))


def test_tokens_put_in_the_place_of_those_that_travel_are_refused(tmp_path, start, episodes):
    policy = shutil.copytree(start / "clap_ntp", tmp_path / "clap_ntp")
    shutil.rmtree(policy / "tokens")
    shutil.copytree(write_tokens(tmp_path / "run", episodes, seed=1), policy / "tokens")
    with pytest.raises(AteError, match=r"the policy was trained with .*: copy the checkpoint"):
        load_reference(policy, torch.device("cpu"))
