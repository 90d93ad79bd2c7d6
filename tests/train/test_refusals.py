"""Commands refuse what cannot work in one line, before they spend time on it."""

import dataclasses
from pathlib import Path

import pytest

from ate_core.errors import AteError, UsageError
from training.configs.finetune import FinetuneConfig
from training.configs.train_vae import TrainVaeConfig
from training.convert_bags import ConvertConfig, convert
from training.evaluate import EvaluateConfig, evaluate
from training.finetune import finetune
from training.repair import RepairConfig, repair
from training.report import ReportConfig, report


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
    [(None, "holds no timings.json"), ("{", "is damaged"), ("{}", "is not of an `ate demo` run")],
)
def test_a_report_needs_the_folder_of_a_run(tmp_path: Path, content, words) -> None:
    if content is not None:
        (tmp_path / "timings.json").write_text(content)
    assert words in refusal(report, ReportConfig(run=tmp_path))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pi0_train": "expert"}, "--policy pi0"),
        ({"policy": "rdt", "freeze_vision": True}, "--policy pi0"),
        ({"policy": "pi0", "lora_rank": 4}, "--pi0-train lora"),
        ({"policy": "rdt", "text_encoder": Path("t5")}, "--policy rdt --preset full"),
        ({"policy": "diffusion", "gradient_checkpointing": True}, "--policy pi0 or rdt"),
        ({"vae": Path("vae")}, "--guidance paper"),
        ({"guidance_strength": 2.0}, "--guidance paper"),
        ({"guidance": "latent_metric", "vae": Path("v"), "guidance_cap": 0.5}, "or reference"),
        ({"guidance": "reference", "vae": Path("v"), "guidance_tau_floor": 0.5}, "anneal"),
        ({"cameras": ("cam_high",)}, "--variant vision"),
        ({"variant": "vision", "image_augmentation": "openpi", "image_shift": 5}, "shift"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(tmp_path: Path, fields, words) -> None:
    *_, name = fields
    with pytest.raises(UsageError, match=f"{name} is .* would ignore: .*{words}"):
        FinetuneConfig(episodes=tmp_path, output=tmp_path, **fields)


def test_an_option_that_acts_is_taken(tmp_path: Path) -> None:
    for fields in (
        {"policy": "pi0", "pi0_train": "lora", "lora_rank": 4, "freeze_vision": True},
        {"guidance": "latent_metric", "vae": Path("vae"), "guidance_strength": 2.0},
        {"guidance": "toward", "vae": Path("vae"), "guidance_cap": 0.5},
        {"variant": "vision", "cameras": ("cam_high",), "image_shift": 5},
    ):
        FinetuneConfig(episodes=tmp_path, output=tmp_path, **fields)


def test_a_batch_is_never_rounded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="batch is 20, must be a multiple of 8"):
        FinetuneConfig(episodes=tmp_path, output=tmp_path, variant="vision", batch=20)
    FinetuneConfig(episodes=tmp_path, output=tmp_path, batch=20)


@pytest.mark.parametrize("name", ["learning_rate", "final_rate", "warmup", "weight_decay"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_numbers_that_cannot_train_are_refused(tmp_path: Path, name, value) -> None:
    with pytest.raises(UsageError, match=f"{name} is"):
        FinetuneConfig(episodes=tmp_path, output=tmp_path, **{name: value})


def test_rollouts_that_cannot_be_made_are_refused(tmp_path: Path, episodes) -> None:
    run = tmp_path / "run"
    finetune(FinetuneConfig(episodes=episodes, output=run, preset="tiny", steps=1, batch=2))
    settings = EvaluateConfig(checkpoints=(run,), output=tmp_path / "e.json", task="reach")
    for field, value, words in (
        ("limit", 0.0, "limit is 0.0 s, must be above 0"),
        ("execute", 21, "execute is 21 ticks, chunks of run have 20"),
        ("task", "pick_place", "run was trained on reach, not on pick_place"),
    ):
        assert words in refusal(evaluate, dataclasses.replace(settings, **{field: value}))


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
