"""What a run takes over from the checkpoint that it starts from, or is refused with."""

import dataclasses
import json
import re
import shlex

import pytest
import torch
from safetensors.torch import save_file

from ate_bringup import cli
from ate_core.errors import CheckpointError, TrainingError, UsageError
from ate_core.trained_for import known_starts
from ate_policy.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.models.pi0 import Pi0, Pi0Config
from ate_policy.models.pi0_entry import PRESETS
from ate_policy.models.pi0_weights import export_weights
from ate_policy.models.registry import policy_entry
from training.configs.finetune import FinetuneConfig, ImageOptions, OptimOptions
from training.configs.train_vae import TrainVaeConfig
from training.finetune import finetune
from training.loop.opened import open_run
from training.objectives.shifted_target import PaperGuidance
from training.pretrained import kept_statistics
from training.pretrained.kept_statistics import compare
from training.train_vae import train_vae
from training.vae.storage import MOMENTS

SHORT = {
    "steps": 2,
    "optim": OptimOptions(batch=4),
    "log_every": 1,
    "save_every": 2,
    "policy": FlowOptions(preset="tiny"),
}
CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")


@pytest.fixture
def started(tmp_path, episodes):
    """A function that trains a policy and returns the configuration of a run that starts there."""

    def start(**settings):
        base = FinetuneConfig(episodes=episodes, output=tmp_path / "base", **SHORT)
        finetune(dataclasses.replace(base, **settings))
        return dataclasses.replace(base, init=tmp_path / "base", output=tmp_path / "on")

    return start


def tiny(name):
    """The smallest network of a kind."""
    return policy_entry(name).options(preset="tiny")


def statistics(run):
    return load_checkpoint(run).statistics


def with_statistics(folder, change):
    """Rewrite a checkpoint with other statistics."""
    stored = load_checkpoint(folder)
    kept = stored.statistics
    changed = dataclasses.replace(kept, state=change(kept.state), action=change(kept.action))
    save_checkpoint(folder.parent / "edited", dataclasses.replace(stored, statistics=changed))
    return folder.parent / "edited"


def test_a_start_that_learned_relative_actions_is_trained_on_relative_ones(started):
    on = started(actions="relative")
    assert finetune(on) == 0
    assert statistics(on.output).relative == statistics(on.init).relative != ()
    stored = load_checkpoint(on.output)
    assert stored.training["actions"] == "relative" and "relative actions" in stored.card


@pytest.mark.parametrize(("learned", "asked"), [("relative", "absolute"), (None, "relative")])
def test_a_start_of_another_space_is_refused_with_both_named(started, learned, asked):
    on = dataclasses.replace(started(actions=learned), actions=asked)
    words = f"learned {learned or 'absolute'} actions, this run asks for {asked} ones"
    with pytest.raises(UsageError, match=words):
        finetune(on)
    assert not on.output.exists()


def test_a_start_in_robot_units_is_trained_in_robot_units(started, capsys):
    on = started(normalise=False)
    assert finetune(on) == 0
    assert set(statistics(on.output).action.std) == {1.0}
    assert load_checkpoint(on.output).training["normalise"] is False
    assert f"robot units, as {on.init} learned" in capsys.readouterr().out


def test_a_start_that_learned_normalised_numbers_refuses_robot_units(started):
    with pytest.raises(UsageError, match="learned normalised states and actions"):
        finetune(dataclasses.replace(started(), normalise=False))


@pytest.mark.parametrize(
    ("given", "count", "kept"),
    [
        (None, 3, True),
        ("init", 3, True),
        ("data", 3, False),
        (None, 4, False),
        ("init", 4, True),
    ],
)
def test_few_demonstrations_are_normalised_as_what_the_weights_learned(
    started, tmp_path, write_demonstrations, given, count, kept, capsys, monkeypatch
):
    monkeypatch.setattr(kept_statistics, "FEW", 4)
    few = write_demonstrations(tmp_path / "few", count=count, ticks=20, seed=5)
    on = dataclasses.replace(started(), episodes=few, statistics=given)
    finetune(on)
    source = "init" if kept else "data"
    assert (statistics(on.output) == statistics(on.init)) is kept
    assert load_checkpoint(on.output).training["statistics"] == source
    told = f"those of {on.init}" if kept else "those of the episodes"
    assert f"statistics: {told} ({count} episodes" in capsys.readouterr().out
    assert finetune(dataclasses.replace(on, resume=True)) == 0


def test_a_joint_that_rested_in_pretraining_takes_its_statistics_from_the_data(started, capsys):
    on = started()
    idle = with_statistics(
        on.init,
        lambda vector: dataclasses.replace(vector, std=(0.001, *vector.std[1:])),
    )
    finetune(dataclasses.replace(on, init=idle))
    out = capsys.readouterr().out
    assert statistics(on.output) == statistics(on.init)
    assert re.search(r"left_arm_1 reaches \d+ deviations of .*same units", out)
    finetune(
        dataclasses.replace(on, init=idle, output=on.init.parent / "asked", statistics="init")
    )
    assert statistics(on.init.parent / "asked") == statistics(idle)


def test_an_object_that_stood_still_in_pretraining_takes_its_statistics_from_the_data(
    started, capsys
):
    on = started()
    stored = load_checkpoint(on.init)
    table = stored.statistics.environment
    still = dataclasses.replace(table, std=(table.std[0] / 1000.0, *table.std[1:]))
    before = dataclasses.replace(stored.statistics, environment=still)
    save_checkpoint(on.init.parent / "edited", dataclasses.replace(stored, statistics=before))
    finetune(dataclasses.replace(on, init=on.init.parent / "edited"))
    assert statistics(on.output) == stored.statistics
    told = capsys.readouterr().out
    assert f"statistics: those of {on.init.parent / 'edited'}" in told
    assert "those of the episodes for what moved less before: object 0 x\n" in told


def test_statistics_that_differ_much_are_compared_in_a_table(started, capsys):
    on = started()
    wide = with_statistics(
        on.init, lambda vector: dataclasses.replace(vector, std=(5.0, *vector.std[1:]))
    )
    finetune(dataclasses.replace(on, init=wide))
    out = capsys.readouterr().out
    assert "2 of 38 entries differ much" in out
    assert re.search(r"action left_arm_1 +\S+ \+- +5\.000 +\S+ \+- +0\.\d+", out)
    finetune(dataclasses.replace(on, output=on.init.parent / "alike"))
    assert "differ much" not in capsys.readouterr().out


def test_statistics_of_a_start_that_has_none_are_refused(started, tmp_path, episodes):
    fresh = FinetuneConfig(episodes=episodes, output=tmp_path / "fresh", **SHORT)
    with pytest.raises(UsageError, match="nothing is started from"):
        finetune(dataclasses.replace(fresh, statistics="init"))
    with pytest.raises(UsageError, match="holds none of what its weights learned"):
        finetune(dataclasses.replace(started(normalise=False), statistics="init"))


def test_a_run_goes_on_with_the_statistics_that_it_began_with(
    started, tmp_path, write_demonstrations
):
    few = write_demonstrations(tmp_path / "few", count=2, ticks=20, seed=5)
    on = dataclasses.replace(started(), episodes=few)
    finetune(dataclasses.replace(on, statistics="data"))
    last = (on.output / "last").resolve()
    stored = json.loads((last / "config.json").read_text())
    record = json.loads((on.output / "run.json").read_text())
    del record["statistics"], stored["training"]["statistics"]  # older than the choice
    (on.output / "run.json").write_text(json.dumps(record))
    (last / "config.json").write_text(json.dumps(stored))
    opened = open_run(dataclasses.replace(on, resume=True))
    opened.folder.release()
    assert opened.config.statistics == "data"
    assert opened.statistics == statistics(on.output)


def test_a_guided_run_needs_a_vae_of_the_statistics_that_it_keeps(
    started, tmp_path, write_demonstrations
):
    on = dataclasses.replace(
        started(), episodes=write_demonstrations(tmp_path / "new", count=2, seed=9)
    )
    small = {"steps": 1, "batch": 4, "latent": 8, "width": 16, "single_stage": True}
    settings = TrainVaeConfig(output=tmp_path / "own", stage=2, episodes=on.episodes, **small)
    train_vae(settings)
    same = dataclasses.replace(settings, output=tmp_path / "same", statistics_of=on.init)
    train_vae(same)
    with pytest.raises(TrainingError, match="--statistics-of INIT"):
        finetune(dataclasses.replace(on, guidance=PaperGuidance(vae=tmp_path / "own")))
    guided = dataclasses.replace(on, guidance=PaperGuidance(vae=tmp_path / "same"))
    assert finetune(dataclasses.replace(guided, output=tmp_path / "guided")) == 0
    with pytest.raises(TrainingError, match="learned absolute actions, this run relative ones"):
        train_vae(dataclasses.replace(same, output=tmp_path / "other", actions="relative"))


def test_a_guided_run_refuses_a_vae_of_other_episodes_under_the_statistics_of_its_start(
    started, tmp_path, write_demonstrations
):
    on = started()
    other = write_demonstrations(tmp_path / "new", count=2, seed=9)
    small = {"steps": 1, "batch": 4, "latent": 8, "width": 16, "single_stage": True}
    vae = TrainVaeConfig(
        output=tmp_path / "vae", stage=2, episodes=other, statistics_of=on.init, **small
    )
    train_vae(vae)
    guided = dataclasses.replace(on, guidance=PaperGuidance(vae=vae.output), statistics="init")
    with pytest.raises(TrainingError, match="trained on other episodes than the policy, or on mo"):
        finetune(guided)
    stored = load_checkpoint(vae.output)
    moments = {MOMENTS: read_tensors(vae.output / "last" / f"{MOMENTS}.safetensors")}
    silent = {key: v for key, v in stored.training.items() if key != "motion_sha256"}
    older = dataclasses.replace(stored, training=silent, extra=moments)
    save_checkpoint((vae.output / "last").resolve(), older)
    assert finetune(guided) == 0


def test_entries_are_compared_in_the_deviations_of_the_start(started, cell):
    kept = statistics(started().init)
    far = dataclasses.replace(
        kept.action,
        q99=tuple(m + 3 * s for m, s in zip(kept.action.mean, kept.action.std, strict=True)),
    )
    entries = compare(kept, dataclasses.replace(kept, action=far), cell.layout)
    assert [e.name for e in entries[:2]] == ["state left_arm_1", "state left_arm_2"]
    assert all(entry.reach == pytest.approx(3.0) for entry in entries[16:])


@pytest.mark.parametrize("options", [[], ["--actions", "relative"], ["--cameras", "cam_high"]])
def test_the_command_that_an_import_prints_trains_in_the_space_of_the_weights(
    tmp_path, write_demonstrations, capsys, options
):
    torch.manual_seed(0)
    network = Pi0(Pi0Config(**{**PRESETS["tiny"].sizes, "cameras": CAMERAS}))
    save_file(export_weights(network.state_dict(), lerobot=True), tmp_path / "model.safetensors")
    words = ["import-pi0", str(tmp_path), "--output", str(tmp_path / "my start"), "--no-language"]
    assert cli.main([*words, "--preset", "tiny", *options]) == 0
    printed = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("  ate ")
    )
    episodes = write_demonstrations(tmp_path / "episodes", count=2, ticks=20, images=True)
    command = shlex.split(printed)
    command[command.index("runs/episodes")] = str(episodes)
    command[command.index("runs/pi0")] = str(tmp_path / "run")
    assert cli.main([*command[1:], "--steps", "1", "--optim.batch", "8"]) == 0
    trained = load_checkpoint(tmp_path / "run")
    assert trained.statistics.relative == (*range(7), *range(8, 15))
    assert len(trained.model["cameras"]) == (1 if "--cameras" in options else 3)


@pytest.fixture
def seeing(tmp_path, write_demonstrations, started):
    """A function that trains a policy that reads cameras, as `started` does."""
    films = write_demonstrations(tmp_path / "films", count=2, ticks=20, images=True)

    def start(cameras, name="diffusion"):
        settings = {
            "episodes": films,
            "variant": "vision",
            "images": ImageOptions(cameras=cameras),
            "optim": OptimOptions(batch=8),
            "policy": tiny(name),
        }
        return dataclasses.replace(started(**settings), **settings)

    return start


@pytest.mark.parametrize("cameras", [CAMERAS[::-1], CAMERAS[:1]])
def test_a_run_reads_the_cameras_of_its_start_in_their_order(seeing, cameras, capsys):
    on = seeing(cameras)
    left_out = dataclasses.replace(on, images=ImageOptions())
    assert finetune(left_out) == 0
    assert tuple(load_checkpoint(on.output).model["cameras"]) == cameras
    assert finetune(dataclasses.replace(left_out, resume=True)) == 0
    assert "cameras:" not in capsys.readouterr().out


def test_other_cameras_than_the_start_read_are_told(seeing, capsys):
    on = seeing(CAMERAS)
    other = dataclasses.replace(on, images=ImageOptions(cameras=CAMERAS[::-1]))
    assert finetune(other) == 0
    assert tuple(load_checkpoint(on.output).model["cameras"]) == CAMERAS[::-1]
    told = f"cameras: {', '.join(CAMERAS[::-1])}, where {on.init} learned from {CAMERAS[0]}"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("name", ["pi0", "diffusion"])
def test_a_start_that_read_cameras_is_not_trained_on_object_poses(seeing, name):
    on = seeing(CAMERAS, name)
    blind = dataclasses.replace(on, variant="state", images=ImageOptions())
    with pytest.raises(UsageError, match=r"learned from cam_high, .* give --variant vision"):
        finetune(blind)


def test_a_start_that_read_object_poses_is_not_trained_on_cameras(started):
    on = dataclasses.replace(started(), variant="vision", optim=OptimOptions(batch=8))
    with pytest.raises(UsageError, match=r"learned from 1 object poses, .* give --variant state"):
        finetune(on)


def test_a_start_that_read_more_object_poses_is_refused(started, tmp_path, write_demonstrations):
    two = write_demonstrations(tmp_path / "two", count=2, ticks=20, objects=2)
    policy = tiny("pi0")
    on = dataclasses.replace(started(policy=policy), policy=policy)
    with pytest.raises(TrainingError, match=r"learned from 1 object poses per tick, .* have 2"):
        finetune(dataclasses.replace(on, episodes=two))


def test_a_run_that_dropped_its_starts_cameras_before_goes_on_with_its_own(seeing):
    on = seeing(CAMERAS[::-1])
    chosen = dataclasses.replace(on, images=ImageOptions(cameras=CAMERAS))
    assert finetune(chosen) == 0
    record = json.loads((on.output / "run.json").read_text())
    record["images"]["cameras"] = []  # taken from the cell, as older versions did
    (on.output / "run.json").write_text(json.dumps(record))
    assert finetune(dataclasses.replace(on, images=ImageOptions(), resume=True)) == 0
    assert tuple(load_checkpoint(on.output).model["cameras"]) == CAMERAS


def test_starts_that_the_start_was_shown_are_known_to_the_run(
    started, tmp_path, write_demonstrations
):
    seeded = write_demonstrations(tmp_path / "seeded", count=1, change={"seed": 1005})
    again = write_demonstrations(tmp_path / "again", count=1, change={"seed": 3})
    on = dataclasses.replace(started(episodes=seeded), episodes=again)
    assert finetune(on) == 0
    training = load_checkpoint(on.output).training
    assert training["seeds"] == [3]
    assert "(seeds 1005)" in known_starts(training, range(1000, 1020))
    assert finetune(dataclasses.replace(on, resume=True)) == 0
    assert load_checkpoint(on.output).training["seeds_before"] == {"reach": [1005]}


def test_a_start_that_does_not_tell_its_space_is_asked_for_it(started):
    on = started()
    stored = load_checkpoint(on.init)
    told = {"imported_from": "somewhere", "policy": stored.training["policy"]}
    silent = on.init.parent / "silent"
    save_checkpoint(silent, dataclasses.replace(stored, training=told))
    with pytest.raises(UsageError, match="does not say whether its weights learned absolute or"):
        finetune(dataclasses.replace(on, init=silent))
    assert finetune(dataclasses.replace(on, init=silent, actions="absolute")) == 0


def test_no_vae_is_trained_on_statistics_that_nobody_knows(started, tmp_path):
    on = started()
    stored = load_checkpoint(on.init)
    told = {"imported_from": "somewhere", "actions": "absolute", "normalise": True}
    for known in (False, True):
        training = {**told, "statistics_known": known}
        save_checkpoint(tmp_path / str(known), dataclasses.replace(stored, training=training))
    small = {"steps": 1, "batch": 4, "latent": 8, "width": 16, "single_stage": True}
    vae = TrainVaeConfig(
        output=tmp_path / "vae",
        stage=2,
        episodes=on.episodes,
        statistics_of=tmp_path / "False",
        **small,
    )
    with pytest.raises(CheckpointError, match=r"does not know the statistics .* a VAE of them"):
        train_vae(vae)
    assert train_vae(dataclasses.replace(vae, statistics_of=tmp_path / "True")) == 0


def test_an_object_in_another_column_than_the_weights_learned_is_refused(
    started, tmp_path, write_demonstrations
):
    both = {"count": 1, "objects": 2}
    before = write_demonstrations(
        tmp_path / "before", change={"object_names": ("bun", "plate")}, **both
    )
    on = started(episodes=before)
    assert load_checkpoint(on.init).training["object_names"] == ["bun", "plate"]
    exchanged = write_demonstrations(
        tmp_path / "exchanged", change={"object_names": ("plate", "bun")}, **both
    )
    message = "base learned from poses of bun, plate, these episodes have plate, bun in this order"
    with pytest.raises(TrainingError, match=message):
        finetune(dataclasses.replace(on, episodes=exchanged))
    other = write_demonstrations(
        tmp_path / "other", change={"object_names": ("bar", "plate")}, **both
    )
    fresh = tmp_path / "another task"
    assert finetune(dataclasses.replace(on, episodes=other, output=fresh)) == 0
