import dataclasses
import json

import pytest
import torch

from ate_core.errors import CheckpointError, TrainingError
from ate_policy.checkpoint import read_tensors
from ate_policy.token_folder import load_tokens, require_same_tokens
from training import train_tokens as command
from training.clap.recipe import PAPER, REFERENCE, TokenRecipe, recipe_of
from training.clap.restart import restart_codes
from training.configs.token_report import TokenReportConfig
from training.configs.train_tokens import TrainTokensConfig
from training.episodes.editor import editing
from training.episodes.episode_set import open_set
from training.episodes.operations import split
from training.loop.optimisation import apply_gradients
from training.token_report import token_report
from training.train_tokens import draw_rows, initial_tokens, special_rates, train_tokens

SHORT = {
    "steps": 6,
    "batch": 8,
    "codes": 2,
    "codebook": 8,
    "code_width": 4,
    "width": 16,
    "feedforward": 32,
    "heads": 2,
    "save_every": 3,
    "log_every": 1,
    "restart_every": 2,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, episodes):
    """A short run in tool space."""
    config = TrainTokensConfig(
        output=tmp_path_factory.mktemp("tokens") / "run", episodes=(episodes,), **SHORT
    )
    assert train_tokens(config) == 0
    return config


def test_a_run_leaves_frozen_tokens_with_measures_of_both_parts(trained):
    stored = load_tokens(trained.output)
    assert stored.identity.space == "tool" and stored.identity.horizon == 20
    assert len(stored.identity.layout) == 14
    assert not any(p.requires_grad for p in stored.model.parameters())
    measures = stored.checkpoint.training["measures"]
    assert measures["held_out"]["chunks"] == 80 and measures["train"]["chunks"] == 160
    assert "Table V" in stored.checkpoint.card
    assert "| held out | 1 of 3 episodes" in stored.checkpoint.card
    chunk = torch.zeros(1, 20, 7)
    assert stored.model.decode(stored.model.encode(chunk)[0]).shape == (1, 20, 7)


def test_one_take_in_parts_trains_and_says_what_its_measures_are_of(
    tmp_path, write_demonstrations
):
    write_demonstrations(tmp_path / "take", count=1)
    with editing(open_set(tmp_path / "take")) as editor:
        split(editor, 0, [25])
    config = TrainTokensConfig(
        output=tmp_path / "run", episodes=(tmp_path / "take",), horizon=10, **SHORT
    )
    assert train_tokens(config) == 0
    stored = load_tokens(config.output)
    told = "1 of 2 episodes, every-fifth; of episodes take parts of the same take"
    assert f"| held out | {told}" in stored.checkpoint.card
    report = TokenReportConfig(
        tokens=(config.output,), output=tmp_path / "page.html", rivals=False
    )
    assert token_report(report) == 0
    assert "parts of the same take" in (tmp_path / "page.html").read_text()


def test_the_log_tells_which_share_of_the_codes_was_used(trained):
    lines = (trained.output / "log.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert all(0.0 < json.loads(line)["used"] <= 1.0 for line in lines)


def test_a_resumed_run_is_the_same_to_the_bit(trained, tmp_path, ended_before):
    config = dataclasses.replace(trained, output=tmp_path / "cut")
    with ended_before(command, 3), pytest.raises(KeyboardInterrupt):
        train_tokens(config)
    assert train_tokens(dataclasses.replace(config, resume=True)) == 0
    for name in ("model", "training_state"):
        whole, cut = (
            read_tensors(run / "step_000006" / f"{name}.safetensors")
            for run in (trained.output, config.output)
        )
        assert whole.keys() == cut.keys()
        assert all(torch.equal(whole[key], cut[key]) for key in whole)
    assert load_tokens(trained.output).identity == load_tokens(config.output).identity


def test_codes_have_a_rate_of_their_own_and_no_decay_chosen_by_module(trained):
    config = dataclasses.replace(trained, weight_decay=0.1)
    chunks = torch.randn(50, 20, 7, generator=torch.Generator().manual_seed(0))
    for recipe, groups in ((PAPER, ["codebook"]), (REFERENCE, ["codebook", "down", "up"])):
        model = initial_tokens(config, recipe, chunks, torch.Generator())
        special = special_rates(model, recipe)
        optimizer = command.make_optimizer(model, 1e-4, 0.1, special=special)
        model(chunks)[0].square().mean().backward()
        apply_gradients(optimizer, model, 2e-4)
        rates = {
            id(p): (group["lr"], group["weight_decay"])
            for group in optimizer.param_groups
            for p in group["params"]
        }
        for name, parameter in model.named_parameters():
            mine = name.split(".")[0] in groups
            assert rates[id(parameter)] == pytest.approx((1e-2, 0.0) if mine else (2e-4, 0.1))


def test_codes_begin_among_encodings_or_around_zero(trained):
    chunks = torch.randn(200, 20, 7, generator=torch.Generator().manual_seed(0))
    ours = initial_tokens(trained, TokenRecipe(), chunks, torch.Generator().manual_seed(0))
    theirs = initial_tokens(trained, PAPER, chunks, torch.Generator().manual_seed(0))
    assert len(ours.encode(chunks)[0].unique()) == 8
    assert theirs.codebook.codes.abs().max() <= 1.0 / 8
    assert torch.equal(ours.embed.weight, theirs.embed.weight)


def test_released_restarts_copy_codes_and_ours_take_encodings(trained):
    chunks = torch.randn(50, 20, 7, generator=torch.Generator().manual_seed(0))
    pool = torch.full((3, 4), 7.0)
    for kind in ("copies", "encodings", "none"):
        recipe = TokenRecipe(restart=kind)
        model = initial_tokens(trained, recipe, chunks, torch.Generator().manual_seed(0))
        before = model.codebook.codes.detach().clone()
        model.codebook.count(torch.tensor([0, 1]))
        restart_codes(model.codebook, kind, pool, torch.Generator().manual_seed(0))
        moved = model.codebook.codes[2:]
        assert torch.equal(model.codebook.codes[:2], before[:2])
        assert model.codebook.usage.sum() == 0
        if kind == "none":
            assert torch.equal(moved, before[2:])
        elif kind == "encodings":
            assert (moved == 7.0).all()
        else:
            assert all((row == before).all(1).any() for row in moved)


def test_chunks_that_stand_still_are_drawn_anew_only_where_asked():
    still = torch.ones(1000, dtype=torch.bool)
    still[::2] = False
    keep, redraw = (
        draw_rows(still, 64, TokenRecipe(still=choice), torch.Generator().manual_seed(0))
        for choice in ("keep", "redraw")
    )
    assert still[keep].any() and not still[redraw].any()


def test_options_change_single_choices_of_a_match(trained):
    config = dataclasses.replace(trained, match="reference", beta=0.25, restart="none")
    recipe = recipe_of(config)
    assert (recipe.beta, recipe.restart, recipe.norms) == (0.25, "none", "mean")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "relative"}, "has space tool, needed is relative"),
        ({"horizon": 32}, "has horizon 20, needed is 32"),
        ({"tick_rate": 30.0}, "has tick_rate 20, needed is 30"),
        ({"layout": ("left_gripper",)}, r"has layout 14 numbers \(left_tool_position_1, .*give"),
        ({"sha256": "0" * 64}, "has sha256 .*, needed is 000000000000: these are other tokens"),
    ],
)
def test_a_parent_of_another_space_is_refused_by_name(trained, change, message):
    found = load_tokens(trained.output).identity
    require_same_tokens(type(found).from_dict(found.as_dict()), found, "tokens")
    with pytest.raises(TrainingError, match=message):
        require_same_tokens(dataclasses.replace(found, **change), found, "the tokens")


def test_weights_that_were_exchanged_are_refused(trained, tmp_path):
    other = dataclasses.replace(trained, output=tmp_path / "other", seed=1)
    assert train_tokens(other) == 0
    mine = load_tokens(trained.output).identity.sha256
    assert load_tokens(other.output).identity.sha256 != mine
    source = trained.output / "last" / "model.safetensors"
    (other.output / "last" / "model.safetensors").write_bytes(source.read_bytes())
    with pytest.raises(CheckpointError, match=r"config\.json says .*: the folder was edited"):
        load_tokens(other.output)


def test_the_report_tells_rate_and_error_of_both_splits(trained, tmp_path):
    page = tmp_path / "report.html"
    config = TokenReportConfig(tokens=(trained.output,), output=page, bits=(16.0,))
    assert token_report(config) == 0
    numbers = json.loads(page.with_suffix(".json").read_text())
    assert set(numbers["splits"]) == {"every-fifth", "last-fifth"}
    (run,) = numbers["runs"]
    measured = load_tokens(trained.output).checkpoint.training["measures"]
    assert run["held_out"]["psnr"] == pytest.approx(measured["held_out"]["psnr"], abs=1e-4)
    assert run["tool_mm"].keys() == {"left", "right"}
    names = {row["name"] for row in numbers["rivals"]}
    assert {"residual k-means", "KLT, Lloyd-Max", "DCT + BPE (FAST-like)"} <= names
    assert {row["split"] for row in numbers["rivals"]} == set(numbers["splits"])
    text = page.read_text()
    assert "mm" in text and "Table V" in text and "left_tool_rotation_1" in text


def test_joints_give_errors_of_the_tools_as_well(tmp_path, episodes):
    config = TrainTokensConfig(
        output=tmp_path / "joints", episodes=(episodes,), space="relative", **SHORT
    )
    assert train_tokens(config) == 0
    page = tmp_path / "report.html"
    token_report(TokenReportConfig(tokens=(config.output,), output=page, rivals=False))
    (run,) = json.loads(page.with_suffix(".json").read_text())["runs"]
    assert run["tool_mm"]["left"]["mean"] > 0.0
    assert [entry["unit"] for entry in run["dimensions"][6:9]] == ["deg", "ratio", "deg"]
