"""The demo types commands that exist, in an order in which each finds its input."""

import typing
from pathlib import Path

import pytest
import tyro

from ate_bringup.cli import VERBS, _load
from ate_bringup.demo import DemoConfig, DemoError, Stage, _check, _run, _run_folder, demo, plan
from ate_bringup.launches import find_launch
from ate_core.errors import AteError, UsageError

CONFIGS = [
    DemoConfig(),
    DemoConfig(task="cook_bun", vision=True, guidance="latent_metric"),
    DemoConfig(node_rollouts=0, finetune_steps=5, policy="clap_rf"),
]


def stages_of(config, tmp_path):
    return [stage for stages in plan(config, tmp_path / "run") for stage in stages]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_stage_is_a_command_that_parses(config, tmp_path, runtime_dir):
    for stage in stages_of(config, tmp_path):
        verb, *words = stage.words
        if verb == "launch":
            launch = find_launch(*words[:2])
            launch.processes(dict(word.split(":=", 1) for word in words[2:]))
            continue
        function = _load(VERBS[verb][0])
        hints = typing.get_type_hints(function)
        config_type = next(hint for name, hint in hints.items() if name != "return")
        tyro.cli(config_type, args=words)  # exits when an option does not exist


def test_recordings_are_used_when_they_are_given(tmp_path):
    folders = (tmp_path / "one", tmp_path / "two")
    words = {s.name: s.words for s in stages_of(DemoConfig(recordings=folders), tmp_path)}
    stage1 = words["VAE on pre-training motion"]
    first = stage1.index("--recordings")
    assert stage1[first + 1 : first + 3] == tuple(map(str, folders))
    assert not any("--recordings" in s.words for s in stages_of(DemoConfig(), tmp_path))


def test_every_stage_of_another_cell_is_told_of_it(tmp_path):
    """The episodes and checkpoints hold the cell from there on."""
    stages = stages_of(DemoConfig(cell="mine.yaml"), tmp_path)
    told = [s.name for s in stages if {"mine.yaml", "cell:=mine.yaml"} & set(s.words)]
    assert told == [
        *("teleoperate", "VAE on pre-training motion", "evaluate"),
        *("deploy plain", "deploy guided"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "fly"}, "known are pick_place, handover"),
        ({"guidance": "magic"}, "no guidance mode 'magic': known are none, paper"),
        ({"guidance": "none"}, "name a mode to be compared"),
        ({"guidance": "anchor"}, "compares with a pre-trained policy"),
        ({"policy": "magic"}, "no policy 'magic': known are flow, diffusion"),
        ({"recordings": (Path("none"),)}, "none is no folder"),
        ({"cell": "none.yaml"}, "cannot be read"),
        ({"demonstrations": 0}, "demonstrations is 0, must be at least 1"),
        ({"rollouts": 0}, "rollouts is 0, must be at least 1"),
        ({"vae_steps": 0}, "vae_steps is 0"),
        ({"motions": -1}, "motions is -1"),
        ({"node_rollouts": -1}, "node_rollouts is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 961}, "seeds 961 to 1000, rollouts 1000 to 1019: success there may be memory"),
        ({"seed": 1019}, "give another --seed"),
        ({"seed": 1020, "node_rollouts": 21}, "rollouts 1000 to 1020"),
    ],
)
def test_what_a_later_stage_would_refuse_is_refused_first(change, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AteError, match=message):
        demo(DemoConfig(**change))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("seed", [0, 960, 1020])
def test_seeds_beside_those_of_the_rollouts_are_taken(seed):
    _check(DemoConfig(seed=seed))


def test_plain_and_guided_differ_only_in_guidance(tmp_path):
    tune = {s.name: s.words for s in stages_of(DemoConfig(), tmp_path) if "tune" in s.name}
    plain, guided = tune["fine-tune plain"], tune["fine-tune guided"]
    *common, _, network = plain
    assert guided[: len(common)] == tuple(common) and guided[len(plain) - 1] == network
    assert guided[len(plain)].startswith("guidance:")


def test_both_policies_of_the_demo_are_of_the_network_that_was_asked_for(tmp_path):
    for name, config in (("flow", DemoConfig()), ("clap_rf", DemoConfig(policy="clap_rf"))):
        tune = [s.words for s in stages_of(config, tmp_path) if "tune" in s.name]
        assert [f"policy:{name}" in words for words in tune] == [True, True]


def test_a_used_folder_is_refused_and_the_default_is_free(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UsageError, match="not empty"):
        _run_folder(tmp_path / "full")
    monkeypatch.chdir(tmp_path)
    assert str(_run_folder(None)) == "runs/demo"
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    assert str(_run_folder(None)) == "runs/demo-2"


def test_a_failing_stage_stops_the_demo_and_names_the_command(tmp_path):
    stage = Stage(name="convert", words=("convert", "--bags", "none", "--output", "out"))
    with pytest.raises(DemoError, match="ate convert --bags none --output out --debug"):
        _run((stage,), tmp_path)


def test_a_stage_takes_the_time_that_a_watch_says_where_clocks_go_slower(tmp_path, monkeypatch):
    stage = Stage(name="help", words=("convert", "--help"))
    [own] = _run((stage,), tmp_path)
    monkeypatch.setenv("SLOW_CLOCK", "0.001 0")
    [slow] = _run((stage,), tmp_path)
    assert slow["seconds"] > 50 * own["seconds"]
