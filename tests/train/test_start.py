"""What a run takes over from the checkpoint that it starts from, or is refused with."""

import dataclasses
import json
import re
import shlex

import numpy as np
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
from tests.policy.test_pi0_inputs import save_byte_tokenizer
from training.configs.finetune import FinetuneConfig, ImageOptions, OptimOptions
from training.configs.train_vae import TrainVaeConfig
from training.data.statistics import quantile_statistics
from training.finetune import finetune
from training.loop.opened import open_run
from training.objectives.anchor import AnchorGuidance
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


def in_degrees(vector):
    """Statistics of the same joints, and of the grippers, as a robot that counts degrees has."""
    return dataclasses.replace(
        vector,
        **{
            key: tuple(float(np.degrees(number)) for number in getattr(vector, key))
            for key in ("mean", "std", "q01", "q99")
        },
    )


def test_statistics_in_degrees_are_kept_only_where_they_are_asked_for(started, capsys):
    on = started()
    degrees = with_statistics(on.init, in_degrees)
    assert finetune(dataclasses.replace(on, init=degrees)) == 0
    assert statistics(on.output) == statistics(on.init)
    out = capsys.readouterr().out
    assert "statistics: those of the episodes" in out and "they look like degrees" in out
    asked = dataclasses.replace(on, init=degrees, output=on.init.parent / "asked")
    assert finetune(dataclasses.replace(asked, statistics="init")) == 0
    assert statistics(asked.output) == statistics(degrees)
    assert "they look like degrees" in capsys.readouterr().out


@pytest.mark.parametrize(("strength", "kept"), [(1.0, True), (0.0, False)])
def test_an_anchor_keeps_the_numbers_of_the_policy_that_it_holds_to(
    started, capsys, monkeypatch, strength, kept
):
    monkeypatch.setattr(kept_statistics, "FEW", 1)
    on = started()
    shifted = with_statistics(
        on.init, lambda vector: dataclasses.replace(vector, std=(0.9, *vector.std[1:]))
    )
    anchored = dataclasses.replace(on, init=shifted, guidance=AnchorGuidance(strength=strength))
    assert finetune(anchored) == 0
    assert (statistics(on.output) == statistics(shifted)) is kept
    assert "other motions than theirs" not in capsys.readouterr().out
    other = dataclasses.replace(anchored, output=on.init.parent / "other", statistics="data")
    assert finetune(other) == 0
    assert ("other motions than theirs" in capsys.readouterr().out) is kept


def by_quantiles(folder):
    """Rewrite a checkpoint as one that reads quantiles at -1 and 1."""
    stored = load_checkpoint(folder)
    changed = quantile_statistics(stored.statistics)
    rounded = dataclasses.replace(  # as openpi's are read: they have a floor of their own
        changed.action, std=tuple(std + 1e-6 for std in changed.action.std)
    )
    again = dataclasses.replace(stored, statistics=dataclasses.replace(changed, action=rounded))
    save_checkpoint(folder.parent / "quantiles", again)
    return folder.parent / "quantiles"


@pytest.mark.parametrize("scale", ["quantiles", "deviations"])
def test_a_run_scales_its_own_numbers_as_its_start_was_scaled(started, scale):
    on = started()
    init = by_quantiles(on.init) if scale == "quantiles" else on.init
    assert finetune(dataclasses.replace(on, init=init, statistics="data")) == 0
    own = statistics(on.output)
    assert (quantile_statistics(own) == own) is (scale == "quantiles")


def test_weights_that_say_how_they_were_scaled_are_believed(started, capsys):
    on = started()
    stored = load_checkpoint(on.init)
    told = {"imported_from": "somewhere", "policy": stored.training["policy"]}
    told |= {"actions": "absolute", "normalise": True, "by_quantiles": True}
    save_checkpoint(on.init.parent / "told", dataclasses.replace(stored, training=told))
    anchored = dataclasses.replace(on, init=on.init.parent / "told", guidance=AnchorGuidance())
    assert finetune(anchored) == 0
    own = statistics(on.output)
    assert quantile_statistics(own) == own
    assert "other motions than theirs" in capsys.readouterr().out  # its own are not known


def moved(cell, part, **changes):
    """The cell with other devices: by role, what changes of them."""
    devices = {
        role: dataclasses.replace(device, **changes.get(role, {}))
        for role, device in getattr(cell, part).items()
    }
    return dataclasses.replace(cell, **{part: devices})


@pytest.mark.parametrize(
    ("part", "changes", "told"),
    [
        ("arms", {"left": {"model": "other"}}, r"left arm: is other, .*base learned with rm75_6f"),
        ("grippers", {"right": {"stroke_m": 0.2}}, r"right gripper: opens 0.2 m at ratio 1, "),
        (
            "arms",
            {"left": {"ip": "127.0.0.3"}, "right": {"ip": "127.0.0.2"}},
            r"arms left and right: have exchanged addresses since the training of .*base",
        ),
    ],
)
def test_a_body_that_the_start_does_not_know_is_told(
    started, tmp_path, write_demonstrations, cell, capsys, part, changes, told
):
    addressed = moved(cell, "arms", left={"ip": "127.0.0.2"}, right={"ip": "127.0.0.3"})
    before = write_demonstrations(tmp_path / "before", count=1, cell=addressed)
    on = started(episodes=before)
    other = write_demonstrations(
        tmp_path / "other", count=1, cell=moved(addressed, part, **changes)
    )
    assert finetune(dataclasses.replace(on, episodes=other)) == 0
    assert re.search(told, capsys.readouterr().out)
    same = dataclasses.replace(on, episodes=before, output=tmp_path / "same")
    assert finetune(same) == 0
    assert "learned with" not in capsys.readouterr().out


def test_cameras_that_were_exchanged_since_the_start_are_told(
    seeing, tmp_path, write_demonstrations, cell, capsys
):
    on = seeing(CAMERAS)
    left, right = (cell.cameras[role].serial for role in ("left_wrist", "right_wrist"))
    exchanged = moved(cell, "cameras", left_wrist={"serial": right}, right_wrist={"serial": left})
    films = write_demonstrations(
        tmp_path / "exchanged", count=1, ticks=20, images=True, cell=exchanged
    )
    assert finetune(dataclasses.replace(on, episodes=films)) == 0
    told = "cameras cam_left_wrist and cam_right_wrist: have exchanged serials since the training"
    assert told in capsys.readouterr().out


def test_a_vae_takes_no_statistics_from_a_policy_in_robot_units(started, tmp_path, episodes):
    on = started(normalise=False)
    small = {"steps": 1, "batch": 4, "latent": 8, "width": 16, "single_stage": True}
    with pytest.raises(TrainingError, match="learned robot units, it has no statistics"):
        train_vae(
            TrainVaeConfig(
                output=tmp_path / "vae", stage=2, episodes=episodes, statistics_of=on.init, **small
            )
        )


@pytest.fixture
def reading(tmp_path, started):
    """A pi0 that learned to read with a tokenizer of its own, and how another run reads on."""
    save_byte_tokenizer(tmp_path / "words")

    def policy(tokenizer, **options):
        options = {"language": True, **options}
        return policy_entry("pi0").options(preset="tiny", tokenizer=tokenizer, **options)

    on = started(policy=policy(tmp_path / "words"))
    return lambda *given, **options: dataclasses.replace(on, policy=policy(*given, **options))


def test_a_run_reads_on_with_the_words_of_its_start(reading, tmp_path):
    save_byte_tokenizer(tmp_path / "copy")
    assert finetune(reading(tmp_path / "copy")) == 0
    save_byte_tokenizer(tmp_path / "reversed", reverse=True)
    with pytest.raises(UsageError, match=r"learned with another tokenizer than .*reversed"):
        finetune(dataclasses.replace(reading(tmp_path / "reversed"), output=tmp_path / "other"))
    with pytest.raises(UsageError, match="learned with another tokenizer than bytes"):
        finetune(dataclasses.replace(reading("bytes"), output=tmp_path / "other"))


def test_a_start_that_is_asked_to_read_otherwise_says_so(reading, started, capsys):
    on = reading(None, language=False)
    assert finetune(on) == 0
    assert f"this run reads no instruction, where {on.init} read one" in capsys.readouterr().out


def test_words_beyond_the_vocabulary_are_refused_before_training(started, tmp_path):
    save_byte_tokenizer(tmp_path / "large", unused=300)
    policy = policy_entry("pi0").options(
        preset="tiny", language=True, tokenizer=tmp_path / "large"
    )
    with pytest.raises(
        CheckpointError, match=r"numbers words up to 5.. at least, the network kno"
    ):
        started(policy=policy)


def test_imported_weights_that_know_words_are_given_no_letters(started, tmp_path):
    on = started(policy=tiny("pi0"))
    stored = load_checkpoint(on.init)
    words = dataclasses.replace(stored, model={**stored.model, "vocabulary": 257152})
    save_checkpoint(tmp_path / "words", words)
    reads = policy_entry("pi0").options(preset="tiny", language=True)
    with pytest.raises(UsageError, match=r"knows 257152 words, this run would read letters: give"):
        finetune(dataclasses.replace(on, init=tmp_path / "words", policy=reads))
