"""Commands refuse what cannot work in one line, before they spend time on it."""

import dataclasses
import re
from pathlib import Path

import pytest
import tyro

from ate_bringup.cli import main
from ate_core.errors import AteError, LayoutError, UsageError
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.models.pi0_entry import Pi0Options
from training.configs.finetune import FinetuneConfig, ImageOptions, OptimOptions
from training.configs.train_vae import TrainVaeConfig
from training.convert_bags import ConvertConfig, convert
from training.evaluate import EvaluateConfig, evaluate
from training.finetune import finetune
from training.objectives.shifted_target import PaperGuidance
from training.repair import RepairConfig, repair
from training.report import ReportConfig, report

AS_THE_COMMAND = (tyro.conf.CascadeSubcommandArgs,)


def refusal(command, config) -> str:
    with pytest.raises(AteError) as caught:
        command(config)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_an_output_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "episode_000000").mkdir()
    commands = [
        (convert, ConvertConfig(bags=tmp_path, output=file / "x")),
        (finetune, FinetuneConfig(episodes=tmp_path, output=file, horizon=20)),
        (evaluate, EvaluateConfig(checkpoints=(tmp_path,), output=file / "x.json")),
    ]
    for command, config in commands:
        text = refusal(command, config)
        assert f"folder {file}" in text and "choose another output" in text
    config = EvaluateConfig(checkpoints=(tmp_path,), output=tmp_path)
    assert "is a folder" in refusal(evaluate, config)


def test_repair_of_nothing_says_what_to_give(tmp_path: Path) -> None:
    assert "give --bag" in refusal(repair, RepairConfig(bag=tmp_path / "none"))
    assert "not a recorded episode" in refusal(repair, RepairConfig(bag=tmp_path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no timings.json"),
        ("{", "cannot be read"),
        ("{}", "is not of an `ate demo` run"),
    ],
)
def test_a_report_needs_the_folder_of_a_run(tmp_path: Path, content, words) -> None:
    if content is not None:
        (tmp_path / "timings.json").write_text(content)
    assert words in refusal(report, ReportConfig(run=tmp_path))


@pytest.mark.parametrize(
    ("words", "what", "remedy"),
    [
        ("policy:pi0 --policy.lora-rank 4", "lora_rank is 4", "--policy.train lora"),
        ("policy:rdt --policy.text-encoder t5", "text_encoder is t5", "--policy.preset full"),
        ("--images.cameras cam_high", "cam_high", "--variant vision"),
        (
            "--variant vision --images.augmentation openpi --images.shift 5",
            "images.shift is 5",
            "--images.augmentation shift",
        ),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(words, what, remedy, capsys) -> None:
    assert main(["finetune", "--episodes", "e", "--output", "o", *words.split()]) == 1
    assert re.search(f"{what}.* would ignore: .*{remedy}", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "option", "suggestion"),
    [
        ("--policy.train expert", "--policy.train", "policy:pi0"),
        ("policy:rdt --policy.freeze-vision", "--policy.freeze-vision", "policy:pi0"),
        ("policy:diffusion --policy.gradient-checkpointing", "gradient-checkpoint", "policy:rdt"),
        ("--guidance.vae v", "--guidance.vae", "guidance:paper"),
        ("--guidance.strength 2", "--guidance.strength", "guidance:paper"),
        ("guidance:latent_metric --guidance.vae v --guidance.cap 1", "--guidance.cap", ":toward"),
        ("guidance:reference --guidance.vae v --guidance.tau-floor 1", "tau-floor", ":anneal"),
        ("--policy pi0", "--policy", "policy:pi0"),
        ("policy:pi1", "policy:pi1", "policy:pi0"),
        ("guidance:papers", "guidance:papers", "guidance:paper"),
    ],
)
def test_an_option_of_another_choice_is_refused_with_a_suggestion(
    words, option, suggestion, capsys
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["finetune", "--episodes", "e", "--output", "o", *words.split()])
    assert ended.value.code == 2
    text = capsys.readouterr().err
    assert option in text and suggestion in text


@pytest.mark.parametrize(
    "words",
    [
        "--episodes E --output O policy:pi0 --policy.train lora guidance:paper --guidance.vae V",
        "policy:pi0 --policy.train lora guidance:paper --guidance.vae V --episodes E --output O",
        "--episodes E guidance:paper --guidance.vae V policy:pi0 --policy.train lora --output O",
        "policy:pi0 guidance:paper --episodes E --guidance.vae V --policy.train lora --output O",
    ],
)
def test_words_of_a_command_may_stand_in_any_order(words) -> None:
    config = tyro.cli(FinetuneConfig, args=words.split(), config=AS_THE_COMMAND)
    assert config.episodes == Path("E") and config.output == Path("O")
    assert config.policy == Pi0Options(train="lora")
    assert config.guidance == PaperGuidance(vae=Path("V"))


def test_an_option_that_acts_is_taken(tmp_path: Path) -> None:
    for fields in (
        {"policy": Pi0Options(train="lora", lora_rank=4, freeze_vision=True)},
        {"variant": "vision", "images": ImageOptions(cameras=("cam_high",), shift=5)},
    ):
        FinetuneConfig(episodes=tmp_path, output=tmp_path, **fields)


def test_a_batch_is_never_rounded(tmp_path: Path) -> None:
    optim = OptimOptions(batch=20)
    with pytest.raises(UsageError, match="batch is 20, must be a multiple of 8"):
        FinetuneConfig(episodes=tmp_path, output=tmp_path, variant="vision", optim=optim)
    FinetuneConfig(episodes=tmp_path, output=tmp_path, optim=optim)


@pytest.mark.parametrize("name", ["learning_rate", "final_rate", "warmup", "weight_decay"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_numbers_that_cannot_train_are_refused(name, value) -> None:
    with pytest.raises(UsageError, match=f"{name} is"):
        OptimOptions(**{name: value})


@pytest.mark.parametrize("name", ["strength", "cap", "tau_floor"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_numbers_that_cannot_steer_are_refused(name, value) -> None:
    with pytest.raises(UsageError, match=f"{name} is"):
        PaperGuidance(vae=Path("vae"), **{name: value})


def test_rollouts_that_cannot_be_made_are_refused(tmp_path: Path, write_demonstrations) -> None:
    episodes = write_demonstrations(tmp_path / "episodes", change={"seed": 1005})
    run = tmp_path / "run"
    policy, optim = FlowOptions(preset="tiny"), OptimOptions(batch=2)
    finetune(FinetuneConfig(episodes=episodes, output=run, policy=policy, steps=1, optim=optim))
    settings = EvaluateConfig(
        checkpoints=(run,), output=tmp_path / "e.json", task="reach", first_seed=0
    )
    for field, value, words in (
        ("limit", 0.0, "limit is 0.0 s, must be above 0"),
        ("execute", 21, "execute is 21 ticks, chunks of run have 20"),
        ("task", "pick_place", "run was trained on reach, not on pick_place"),
        ("first_seed", 1000, r"run: 1 of 20 starts .* \(seeds 1005\).* give --first-seed 2000"),
    ):
        with pytest.raises(UsageError, match=words):
            evaluate(dataclasses.replace(settings, **{field: value}))


def test_a_policy_of_several_tasks_is_rolled_out_in_any_of_them(
    tmp_path: Path, write_demonstrations
) -> None:
    episodes = write_demonstrations(tmp_path / "episodes", change={"task": "use_toaster"})
    run = tmp_path / "run"
    policy, optim = FlowOptions(preset="tiny"), OptimOptions(batch=2)
    finetune(FinetuneConfig(episodes=episodes, output=run, policy=policy, steps=1, optim=optim))
    settings = EvaluateConfig(checkpoints=(run,), output=tmp_path / "e.json", episodes=1)
    words = "run was trained on reach, use_toaster, not on pick_place: give --task reach or use_t"
    with pytest.raises(UsageError, match=words):
        evaluate(dataclasses.replace(settings, task="pick_place"))
    with pytest.raises(LayoutError, match="object poses have shape"):  # it got as far as the cell
        evaluate(dataclasses.replace(settings, task="use_toaster"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stage": 1, "learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"stage": 1, "weight_decay": float("nan")}, "weight_decay is nan"),
        ({"stage": 1, "demonstrations": 3}, "demonstrations is a choice of stage 2"),
        ({"stage": 1, "start_from_prior": True}, "start_from_prior is a choice of stage 2"),
        ({"stage": 2, "episodes": Path("e"), "cell": Path("c")}, "--cell to stage 1"),
    ],
)
def test_an_action_vae_refuses_what_it_would_ignore(tmp_path: Path, fields, words) -> None:
    with pytest.raises(UsageError, match=words):
        TrainVaeConfig(output=tmp_path, **fields)
