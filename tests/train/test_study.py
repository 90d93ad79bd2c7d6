import dataclasses
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ate_core.errors import TrainingError, UsageError
from ate_policy.checkpoint import load_checkpoint
from ate_policy.models import registry
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.models.pi0_config import Pi0Config
from ate_policy.models.pi0_entry import PRESETS as PI0_PRESETS
from ate_policy.models.pi0_entry import Pi0Options
from ate_policy.models.pi05_entry import Pi05Options
from ate_policy.models.registry import policy_entry
from ate_sim.embodiments import FastEpisode, collect_fast
from training.configs.output_folder import only_writer
from training.configs.study import VAES, StudyConfig, parse_arm
from training.data.trajectory import read_trajectories
from training.studies import stages
from training.studies.rollout import Trial
from training.studies.stages import as_episode, pretrain_policy, train_aligned
from training.study import Job, make_jobs, run_jobs, study
from training.vae.model import ActionVae
from training.vae.storage import load_vae

TINY = {
    "tasks": ("pick_place",),
    "guidance": ("none", "toward:0.5"),
    "seeds": 1,
    "demonstrations": 2,
    "steps": 4,
    "checkpoints": (2,),
    "rollouts": 2,
    "early_rollouts": 1,
    "limit": 0.5,
    "policy": FlowOptions(preset="tiny"),
    "vae_motions": 1,
    "vae_steps": 2,
}


def results(config):
    """All that a study found, without where it lies."""
    return json.loads((config.output / "results.json").read_text())["entries"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny study that ran through."""
    config = StudyConfig(output=tmp_path_factory.mktemp("study"), **TINY)
    assert study(config) == 0
    return config


def test_a_study_leaves_rollouts_a_table_and_a_figure(finished):
    entries = results(finished)
    assert [(entry["steps"], entry["guidance"]) for entry in entries] == [
        (2, "none"),
        (2, "toward:0.5"),
        (4, "none"),
        (4, "toward:0.5"),
    ]
    assert [len(entry["rollouts"][0]) for entry in entries] == [1, 1, 2, 2]
    table = (finished.output / "study.md").read_text()
    assert "| pick_place | 4 | toward:0.5 | 0/2 = 0 % (0–66) |" in table
    assert (finished.output / "study.svg").read_text().startswith("<?xml")


def test_arms_share_data_and_starts_and_differ_in_their_target(finished):
    entries = results(finished)
    starts = [[trial["seed"] for trial in entry["rollouts"][0]] for entry in entries[2:]]
    assert starts == [[2_000_000, 2_000_001]] * 2
    runs = [finished.output / "policies" / "pick_place" / arm.folder for arm in finished.arms]
    plain, guided = (load_checkpoint(run / "seed_0").training for run in runs)
    differing = {key for key in plain if plain[key] != guided[key]}
    assert differing == {"guidance", "output"}
    assert guided["guidance"]["name"] == "toward" and guided["guidance"]["cap"] == 0.5


def test_a_finished_study_repeats_nothing(finished, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a finished stage ran again")

    for name in ("finetune", "train_vae", "collect_fast", "roll_out"):
        monkeypatch.setattr(stages, name, refuse)
    before = (finished.output / "results.json").read_bytes()
    assert study(finished) == 0
    assert (finished.output / "results.json").read_bytes() == before


def test_a_killed_study_ends_with_the_same_result(finished, tmp_path, monkeypatch):
    config = dataclasses.replace(finished, output=tmp_path / "study")
    original, calls = stages.roll_out, []

    def dies(*arguments, **settings):
        calls.append(arguments)
        if len(calls) == 5:  # in the second rollout of the last checkpoint
            raise KeyboardInterrupt
        return original(*arguments, **settings)

    monkeypatch.setattr(stages, "roll_out", dies)
    with pytest.raises(KeyboardInterrupt):
        study(config)
    monkeypatch.undo()
    assert study(config) == 0
    assert results(config) == results(finished)


def test_a_study_can_grow_but_not_change(finished):
    with pytest.raises(UsageError, match=r"other settings: steps: 6 \(was 4\)"):
        study(dataclasses.replace(finished, steps=6))
    more = dataclasses.replace(finished, rollouts=3, guidance=("none",))
    assert study(more) == 0
    assert len(results(more)[-1]["rollouts"][0]) == 3
    assert study(finished) == 0  # as before, for the other tests


def test_pretraining_uses_other_bodies_and_other_tasks(tmp_path):
    settings = {**TINY, "tasks": ("use_toaster",), "pretrained": ("use_toaster",)}
    config = StudyConfig(
        output=tmp_path,
        pretraining_tasks=("pick_place", "use_toaster"),
        pretraining_bodies=("six_axes",),
        pretraining_demonstrations=1,
        pretraining_steps=1,
        **settings,
    )
    run = pretrain_policy(config, "use_toaster")
    [one] = read_trajectories(tmp_path / "pretraining" / "use_toaster" / "episodes")
    assert one.task == "pick_place"
    assert one.environment.shape[1] == 4  # two of them absent
    assert not one.state[:, 2].any()  # the body has no joint 3
    assert load_checkpoint(run).model["objects"] == 4


def test_the_control_has_an_encoder_of_random_weights(finished):
    trained = train_aligned(finished, "pick_place", 0)
    untrained = train_aligned(finished, "pick_place", 0, "untrained")
    weights, control = (load_vae(path).model for path in (trained, untrained))
    torch.manual_seed(0)  # as the command does before it builds the network
    fresh = ActionVae(weights.config).state_dict()
    weights, control = weights.state_dict(), control.state_dict()
    assert all(torch.equal(control[name], value) for name, value in fresh.items())
    assert not all(torch.equal(weights[name], value) for name, value in fresh.items())


@pytest.mark.parametrize("variant", [word for word in VAES if word != "untrained"])
def test_every_ablation_of_the_vae_trains(finished, variant):
    training = load_vae(train_aligned(finished, "pick_place", 0, variant)).checkpoint.training
    changed = VAES[variant]
    assert {name: training[name] for name in changed} == changed


def made_by_hand(objects):
    state = np.zeros((3, 16), np.float32)
    state[:, 1] = [0.0, 0.1, 0.2]
    return FastEpisode(
        task="handover",
        seed=7,
        state=state,
        action=state,
        environment=np.ones((3, objects, 7), np.float32),
        images={},
        success=True,
    )


@pytest.mark.parametrize("statistics", ["data", "init"])
def test_the_vae_of_a_policy_by_quantiles_is_scaled_by_them_too(tmp_path, monkeypatch, statistics):
    settings = []
    for name in ("record_demonstrations", "train_prior", "pretrain_policy"):
        monkeypatch.setattr(stages, name, lambda *_: tmp_path)
    monkeypatch.setattr(stages, "_train", lambda _, config: settings.append(config))
    for policy in (Pi05Options(preset="small"), FlowOptions(preset="tiny")):
        own = {"statistics": statistics, "policy": policy, "pretrained": ("pick_place",)}
        config = StudyConfig(output=tmp_path, **TINY | own)
        stages.train_aligned(config, "pick_place", 0)
    wanted = [statistics == "data", False]
    assert [config.by_quantiles for config in settings] == wanted


def test_velocities_are_differences_and_absent_objects_lie_at_the_origin(cell):
    episode = as_episode(made_by_hand(1), cell, objects=2)
    np.testing.assert_allclose(episode.velocity[:, 1], 2.0, rtol=1e-5)  # 0.1 rad per 50 ms
    assert episode.velocity.shape == (3, 14)
    np.testing.assert_array_equal(episode.environment[:, 1], [[0, 0, 0, 0, 0, 0, 1]] * 3)
    assert episode.timestamps_ns.tolist() == [0, 50_000_000, 100_000_000]


def test_a_task_with_too_many_objects_is_refused(cell):
    with pytest.raises(UsageError, match="handover has 3 objects, the task to be learned 2"):
        as_episode(made_by_hand(3), cell, objects=2)


def test_a_study_without_rollouts_has_no_report(tmp_path):
    config = StudyConfig(output=tmp_path / "study", report_only=True, **TINY)
    with pytest.raises(TrainingError, match="no seed with rollouts of all arms: run the study"):
        study(config)


def test_a_page_gets_the_tables_and_the_figure_it_shows(finished, tmp_path):
    name = finished.output.name
    page = tmp_path / "page.md"
    page.write_text(f"![curves]({name}.svg)\n<!-- {name}: begin -->\n<!-- {name}: end -->\n")
    assert study(dataclasses.replace(finished, report_only=True, document=page)) == 0
    assert (finished.output / "study.md").read_text() in page.read_text()
    assert (tmp_path / f"{name}.svg").read_bytes() == (finished.output / "study.svg").read_bytes()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("paper", ("paper", None, "", "paper")),
        ("toward:0.03", ("toward", 0.03, "", "toward-0.03")),
        ("paper:0.3:untrained", ("paper", 0.3, "untrained", "paper-0.3-untrained")),
    ],
)
def test_an_arm_is_a_mode_with_options(text, expected):
    arm = parse_arm(text)
    assert (arm.mode, arm.number, arm.vae, arm.folder) == expected


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"guidance": ("paper",)}, "add none, the one compared with"),
        ({"guidance": ("none", "upward")}, "no guidance mode 'upward': known are none, paper"),
        ({"guidance": ("none", "paper:-1")}, "give a number from 0"),
        ({"guidance": ("none", "none:0.1")}, "plain fine-tuning takes no options"),
        ({"guidance": ("none", "none")}, "none twice"),
        ({"guidance": ("none", "paper", "paper:0.1")}, "has paper:0.1 twice: paper is it, too"),
        ({"guidance": ("none", "latent-metric", "latent_metric")}, "has latent_metric twice"),
        (
            {"guidance": ("none", "toward:untrained:0.2", "toward:0.2:untrained")},
            "has toward:0.2:untrained twice",
        ),
        ({"guidance": ("none", "paper:0.1:0.2")}, "one number and one VAE at most"),
        ({"guidance": ("none", "paper:untrained:no_mmd")}, "one number and one VAE at most"),
        ({"pretrained": ("pick_place",), "pretraining_bodies": ()}, "name at least one"),
        (
            {"pretrained": ("pick_place",), "pretraining_tasks": ("handover", "handover")},
            "none twice",
        ),
        (
            {"pretrained": ("pick_place",), "pretraining_tasks": ("pick_place",)},
            "nothing to pre-train pick_place on",
        ),
        ({"checkpoints": (9,)}, r"must lie between 1 and steps \(4\)"),
        ({"early_rollouts": 5}, r"early_rollouts is 5, must be at most rollouts \(2\)"),
        ({"pretrained": ("handover",)}, "not among the tasks"),
        ({"seeds": 0}, "seeds is 0, must be at least 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, reason):
    with pytest.raises(UsageError, match=reason):
        StudyConfig(output=Path("study"), **{**TINY, **settings})


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="is not empty and no study"):
        study(StudyConfig(output=tmp_path, **TINY))


def test_jobs_of_several_processes_keep_their_order_and_report_errors(tmp_path):
    first, second = tmp_path / "first", tmp_path / "first" / "second"
    jobs = {
        "inner": Job(run=second.mkdir, needs=("outer",)),  # fails unless the outer one is there
        "outer": Job(run=first.mkdir),
        "broken": Job(run=partial(int, "x"), needs=("inner",)),
    }
    with pytest.raises(ValueError, match="invalid literal"):
        run_jobs(jobs, 2, 1)
    assert second.is_dir()


def tell_threads(file):
    file.write_text(str(torch.get_num_threads()))


@pytest.mark.parametrize("processes", [1, 2])
def test_jobs_that_train_nothing_any_more_have_the_threads_of_the_study_too(tmp_path, processes):
    before, file = torch.get_num_threads(), tmp_path / "threads"
    try:
        for threads in (1, 2):
            run_jobs({"rollouts": Job(run=partial(tell_threads, file))}, processes, threads)
            assert file.read_text() == str(threads)
    finally:
        torch.set_num_threads(before)


def test_arms_wait_for_what_they_need():
    settings = {**TINY, "guidance": ("none", "paper", "paper:untrained")}
    jobs = make_jobs(StudyConfig(output=Path("study"), pretrained=("pick_place",), **settings))
    names = list(jobs)
    for name, job in jobs.items():
        assert all(names.index(need) < names.index(name) for need in job.needs)
    shared = {"pick_place: pre-training", "pick_place, seed 0: demonstrations"}
    assert set(jobs["pick_place, seed 0: none"].needs) == shared
    assert set(jobs["pick_place, seed 0: paper:untrained"].needs) == shared | {
        "pick_place, seed 0: action VAE untrained"
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tasks": ("juggle",)}, "no task 'juggle': known are pick_place"),
        ({"pretraining_bodies": ("octopus",)}, "body is 'octopus'; use some of six_axes"),
        (
            {"policy": Pi0Options(preset="tiny", tokenizer="bytes")},
            "tokenizer is bytes, .* --policy.language True",
        ),
    ],
)
def test_names_that_do_not_exist_are_refused_before_any_work(tmp_path, fields, words):
    with pytest.raises(UsageError, match=words):
        study(StudyConfig(output=tmp_path / "study", **{**TINY, **fields}))
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"limit": 0.0}, "limit is 0.0 s"),
        ({"vae_steps": 0}, "vae_steps is 0"),
        ({"policy": Pi0Options(preset="full")}, "needs published ones"),
    ],
)
def test_settings_that_cannot_run_are_refused(tmp_path, fields, words):
    with pytest.raises(UsageError, match=words):
        StudyConfig(output=tmp_path, **{**TINY, **fields})


def test_a_network_that_cannot_see_is_refused_by_a_study_of_images(tmp_path, monkeypatch):
    blind = dataclasses.replace(policy_entry("flow"), reads=("objects",))
    monkeypatch.setattr(
        registry, "policy_entry", lambda name: blind if name == "flow" else policy_entry(name)
    )
    with pytest.raises(UsageError, match="variant is vision, but policy:flow reads no cameras"):
        StudyConfig(output=tmp_path, **{**TINY, "variant": "vision"})


def test_rollouts_show_a_policy_images_of_the_size_it_learned_from(tmp_path, monkeypatch):
    shapes = []

    def look(env, policy, start, *, limit, execute):
        observation = env.reset(start)
        shapes.append({image.shape for image in observation.images.values()})
        return Trial(seed=start, success=False, score=0.0, duration=limit, jerk=0.0, refused=0)

    policy = SimpleNamespace(
        config=Pi0Config(**{**PI0_PRESETS["tiny"].sizes, "cameras": ("cam_high",)}), horizon=20
    )
    monkeypatch.setattr(stages, "load_policy", lambda *_: policy)
    monkeypatch.setattr(stages, "roll_out", look)
    config = StudyConfig(output=tmp_path, **{**TINY, "variant": "vision"})
    assert len([*stages._roll_out(config, "pick_place", tmp_path, range(1))]) == 1
    [made] = collect_fast("pick_place", [0], cameras=("cam_high",))
    assert shapes == [{images[0].shape for images in made.images.values()}]


def test_a_mode_is_known_by_the_spelling_of_the_finetune_parser():
    assert parse_arm("latent-metric:0.3") == parse_arm("latent_metric:0.3")


def test_a_study_in_whose_folder_another_one_works_is_refused(tmp_path):
    config = StudyConfig(output=tmp_path / "study")
    config.output.mkdir()
    with (
        only_writer(config.output, "the other"),
        pytest.raises(UsageError, match=r"another study writes to .*study: wait for it"),
    ):
        study(config)
