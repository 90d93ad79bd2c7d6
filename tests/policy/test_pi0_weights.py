import dataclasses
import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from ate_core.errors import CheckpointError, UsageError
from ate_policy.checkpoint import load_checkpoint
from ate_policy.first_look import compare_training
from ate_policy.models.foreign_weights import read_folder, rename_all, require_fit
from ate_policy.models.interface import Inputs
from ate_policy.models.pi0 import Pi0, Pi0Config
from ate_policy.models.pi0_entry import PRESETS
from ate_policy.models.pi0_weights import SOURCES, export_weights, import_weights
from ate_policy.policy import load_policy
from training.configs.import_pi0 import ExportPi0Config, ImportPi0Config
from training.import_pi0 import export_pi0, import_pi0, learned_numbers, read_norm_stats

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
SIZES = Pi0Config(**{**PRESETS["tiny"].sizes, "cameras": CAMERAS})

HEAD = "model.paligemma_with_expert.paligemma.lm_head.weight"
EMBEDDING = "model.paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
IMAGES = {f"observation.images.{key}" for key in CAMERAS}

GOLDEN = {
    "state_proj.weight": "embed_action_time.state_proj.weight",
    "action_in_proj.bias": "embed_action_time.action_in_proj.bias",
    "action_time_mlp_in.weight": "embed_action_time.action_time_mlp_in.weight",
    "action_time_mlp_out.weight": "embed_action_time.action_time_mlp_out.weight",
    "action_out_proj.weight": "action_out_proj.weight",
    "paligemma_with_expert.paligemma.lm_head.weight": (
        "model.vlm.language_model.embed_tokens.weight"
    ),
    "paligemma_with_expert.paligemma.model.language_model.layers.1.mlp.up_proj.weight": (
        "model.vlm.language_model.layers.1.mlp.up_proj.weight"
    ),
    "paligemma_with_expert.paligemma.model.multi_modal_projector.linear.bias": (
        "model.vlm.multi_modal_projector.linear.bias"
    ),
    "paligemma_with_expert.paligemma.model.vision_tower.vision_model.encoder.layers.0"
    ".self_attn.q_proj.bias": "model.vlm.vision_tower.encoder.layers.0.self_attn.q_proj.bias",
    "paligemma_with_expert.gemma_expert.model.layers.0.self_attn.o_proj.weight": (
        "model.dit.layers.0.self_attn.o_proj.weight"
    ),
    "paligemma_with_expert.gemma_expert.model.norm.weight": "model.dit.norm.weight",
}
"""Names of openpi and of transformers, written out by hand from both projects' files."""


@pytest.fixture(scope="module")
def ours():
    torch.manual_seed(0)
    return Pi0(SIZES).state_dict()


def file_of(ours, naming):
    """The tensors of a file in one of the namings, made without the code under test."""
    theirs = {}
    for name, value in ours.items():
        name = name.removeprefix("network.").removeprefix("embed_action_time.")
        name = re.sub(r"^model\.vlm\.language_model\.embed_tokens", "HEAD", name)
        name = re.sub(r"^model\.vlm\.vision_tower\.", "VLM.vision_tower.vision_model.", name)
        name = re.sub(r"^model\.vlm\.", "VLM.", name)
        name = re.sub(r"^model\.dit\.", "paligemma_with_expert.gemma_expert.model.", name)
        name = name.replace("HEAD", "paligemma_with_expert.paligemma.lm_head")
        if naming == "old lerobot":
            name = name.replace("VLM.language_model.", "VLM.language_model.model.")
            name = name.replace("paligemma.lm_head", "paligemma.language_model.lm_head")
            name = name.replace("VLM.", "paligemma_with_expert.paligemma.")
        name = name.replace("VLM.", "paligemma_with_expert.paligemma.model.")
        theirs[name if naming == "openpi" else f"model.{name}"] = value.clone()
    start = "" if naming == "openpi" else "model."
    theirs[f"{start}paligemma_with_expert.gemma_expert.lm_head.weight"] = torch.zeros(260, 64)
    if naming == "old lerobot":
        theirs["normalize_inputs.buffer_observation_state.mean"] = torch.zeros(16)
    return theirs


@pytest.mark.parametrize("naming", ["openpi", "lerobot", "old lerobot"])
def test_files_of_all_namings_load_with_nothing_missing_or_left_over(ours, naming):
    loaded = import_weights(file_of(ours, naming), SIZES)
    assert loaded.keys() == ours.keys()
    assert all(torch.equal(loaded[name], value) for name, value in ours.items())
    Pi0(SIZES).load_state_dict(loaded, strict=True)


def test_names_are_those_of_the_projects(ours):
    theirs = file_of(ours, "openpi")
    loaded = import_weights({name: value + 0.5 for name, value in theirs.items()}, SIZES)
    for name, native in GOLDEN.items():
        assert torch.equal(loaded[f"network.{native}"], theirs[name] + 0.5)


def test_the_names_that_transformers_converts_are_read_alike(ours, tmp_path):
    """transformers' own conversion of a lerobot file gives the same tensors."""
    from transformers import PI0ForConditionalGeneration

    from ate_policy.models.pi0_network import network_config

    theirs = file_of(ours, "lerobot")
    save_file(theirs, tmp_path / "model.safetensors", metadata={"format": "pt"})
    network, report = PI0ForConditionalGeneration.from_pretrained(
        tmp_path, config=network_config(SIZES), output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    loaded = import_weights(theirs, SIZES)
    for name, value in network.state_dict().items():
        if name != "model.dit.embed_tokens.weight":
            assert torch.equal(loaded[f"network.{name}"], value)


@pytest.mark.parametrize("naming", ["openpi", "lerobot"])
def test_what_is_exported_is_what_was_imported(ours, naming):
    theirs = file_of(ours, naming)
    if naming == "lerobot":
        theirs[EMBEDDING] = theirs[HEAD]
    back = export_weights(import_weights(theirs, SIZES), lerobot=naming == "lerobot")
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], value) for name, value in theirs.items())


def test_weights_of_another_size_are_refused_by_name(ours):
    theirs = file_of(ours, "lerobot")
    theirs.pop("model.paligemma_with_expert.gemma_expert.model.norm.weight")
    theirs["model.extra"] = torch.zeros(1)
    theirs["model.action_out_proj.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as error:
        import_weights(theirs, SIZES)
    text = str(error.value)
    assert "1 missing, for instance network.model.dit.norm.weight" in text
    assert "1 unexpected, for instance network.model.extra" in text
    assert "action_out_proj.bias (3,) instead of (32,)" in text


def test_shards_are_read_through_their_index(ours, tmp_path):
    theirs = file_of(ours, "openpi")
    names = sorted(theirs)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: theirs[name] for name in part}, tmp_path / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert read_folder(tmp_path, SOURCES).keys() == theirs.keys()
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_folder(tmp_path, SOURCES)


SOUND = {"mean": [0.5] * 16, "std": [0.2] * 16, "q01": [0.0] * 16, "q99": [1.0] * 16}


def statistics_in(folder):
    """openpi's norm_stats.json, in a folder."""
    file = folder / "norm_stats.json"
    file.write_text(json.dumps({"norm_stats": {"state": SOUND, "actions": SOUND}}))
    return file


def sharded(folder, parts, index=None):
    """Write shards and their index."""
    for file, part in parts.items():
        save_file(part, folder / file)
    table = index or {name: file for file, part in parts.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    return folder


@pytest.mark.parametrize("last", [HEAD, EMBEDDING])
def test_the_embedding_that_learned_is_read_whichever_shard_it_lies_in(ours, tmp_path, last):
    """lerobot stores a head that it does not train beside the embedding that it does."""
    theirs = file_of(ours, "lerobot")
    theirs[EMBEDDING] = theirs[HEAD] + 1.0
    late = {last: theirs.pop(last)}
    folder = sharded(tmp_path, {"a.safetensors": theirs, "b.safetensors": late})
    loaded = import_weights(read_folder(folder, SOURCES), SIZES)
    own = ours["network.model.vlm.language_model.embed_tokens.weight"]
    assert torch.equal(loaded["network.model.vlm.language_model.embed_tokens.weight"], own + 1.0)


def test_each_weight_comes_from_the_shard_that_the_index_names(tmp_path):
    zero, one = {"x": torch.zeros(1)}, {"x": torch.ones(1)}
    parts = {"a.safetensors": one, "b.safetensors": {**zero, "y": torch.ones(2)}}
    index = {"x": "a.safetensors", "y": "b.safetensors"}
    assert read_folder(sharded(tmp_path, parts, index), SOURCES)["x"] == 1.0
    with pytest.raises(CheckpointError, match=r"b.safetensors holds y, which .* does not name"):
        read_folder(sharded(tmp_path, parts, {"x": "b.safetensors"} | {"z": "b.safetensors"}), "")
    with pytest.raises(CheckpointError, match=r"a.safetensors lacks y, which .* says it holds"):
        read_folder(sharded(tmp_path, parts, dict.fromkeys("xy", "a.safetensors")), SOURCES)
    save_file(zero, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"two sources: keep one of them"):
        read_folder(tmp_path, SOURCES)


def test_foreign_weights_that_are_not_finite_are_refused_by_name():
    shapes = {"a": torch.Size([2]), "b": torch.Size([2])}
    weights = {"a": torch.ones(2), "b": torch.tensor([1.0, torch.nan])}
    with pytest.raises(CheckpointError, match="1 not finite, for instance b"):
        require_fit(weights, shapes, "pi0")


def test_two_names_of_one_weight_that_differ_are_refused():
    theirs = {"a.w": torch.zeros(1), "b.w": torch.zeros(1)}
    table = ((r"^[ab]\.", "c."),)
    assert list(rename_all(theirs, table)) == ["c.w"]
    with pytest.raises(CheckpointError, match=r"a\.w and b\.w are both c\.w and differ"):
        rename_all({**theirs, "b.w": torch.ones(1)}, table)


@pytest.mark.parametrize(
    ("added", "removed", "words"),
    [
        (
            "model.time_mlp_in.weight",
            "action_time_mlp",
            r"weights of pi0\.5, not of pi0: .ate import-pi0. reads",
        ),
        ("model.x.weight", "action_|state_", "pi0-FAST or PaliGemma alone"),
        ("model.vlm_with_expert.x", "action_", "weights of SmolVLA"),
        ("lang_adaptor.0.weight", "", "weights of RDT, .*`ate import-rdt`"),
        ("obs_encoder.x", "", "Diffusion Policy, .*`ate import-dp`"),
    ],
)
def test_weights_of_another_published_network_are_called_by_its_name(ours, added, removed, words):
    theirs = {} if "`" in words else file_of(ours, "lerobot")
    theirs = {n: v for n, v in theirs.items() if not (removed and re.search(removed, n))}
    theirs |= {added: torch.zeros(1)}
    if "import-dp" in words:
        theirs |= {"model.mid_modules.0.blocks.0.block.0.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=words):
        import_weights(theirs, SIZES)


def test_another_preset_and_another_width_of_actions_are_told_with_the_remedy(ours):
    theirs = file_of(ours, "lerobot")
    small = Pi0Config(**{**PRESETS["small"].sizes, "cameras": CAMERAS})
    with pytest.raises(CheckpointError, match=r"expert of 2 layers and width 64.*--preset tiny"):
        import_weights(theirs, small)
    theirs["model.action_in_proj.weight"] = torch.zeros(64, 14)
    with pytest.raises(CheckpointError, match=r"actions of 14 numbers, pi0 of 32: .*max_action"):
        import_weights(theirs, SIZES)


def test_an_empty_folder_is_told_where_weights_come_from(tmp_path):
    with pytest.raises(CheckpointError, match=r"lerobot/pi0_base.*Gemma licence") as error:
        read_folder(tmp_path, SOURCES)
    assert "\n" not in str(error.value)


def test_an_imported_checkpoint_acts_as_the_network_it_came_from(ours, tmp_path, cell):
    source = tmp_path / "lerobot"
    source.mkdir()
    save_file(file_of(ours, "lerobot"), source / "model.safetensors")
    config = ImportPi0Config(
        source=source,
        output=tmp_path / "checkpoint",
        language=False,
        preset="tiny",
        horizon=6,
        actions="absolute",
        statistics=statistics_in(tmp_path),
    )
    assert import_pi0(config) == 0
    policy = load_policy(tmp_path / "checkpoint")
    assert policy.config.cameras == cell.layout.cameras and policy.horizon == 6
    model = Pi0(Pi0Config(**{**PRESETS["tiny"].sizes, "cameras": CAMERAS, "horizon": 6})).eval()
    model.load_state_dict(ours)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, 3, 28, 28, generator=generator) - 0.5
    inputs = Inputs(state=torch.randn(1, 16, generator=generator), images=images)
    noise = torch.randn(1, 6, 32, generator=generator)
    assert torch.equal(policy._model.sample(inputs, noise), model.sample(inputs, noise))

    back = ExportPi0Config(checkpoint=tmp_path / "checkpoint", output=tmp_path / "back")
    assert export_pi0(back) == 0
    exported = load_file(tmp_path / "back" / "model.safetensors")
    assert exported.keys() == {*file_of(ours, "lerobot"), EMBEDDING}
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    assert config["type"] == "pi0" and config["chunk_size"] == 6
    assert config["output_features"]["action"]["shape"] == [16]
    assert set(config["input_features"]) == {"observation.state", *IMAGES}
    with pytest.raises(UsageError, match="exists"):
        export_pi0(back)


def test_a_folder_for_lerobot_says_which_actions_are_differences(ours, tmp_path):
    save_file(file_of(ours, "lerobot"), tmp_path / "model.safetensors")
    common = {"language": False, "preset": "tiny", "actions": "relative"}
    common |= {"statistics": statistics_in(tmp_path)}
    import_pi0(ImportPi0Config(source=tmp_path, output=tmp_path / "in", **common))
    export_pi0(ExportPi0Config(checkpoint=tmp_path / "in", output=tmp_path / "out"))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["use_relative_actions"] is True
    assert config["relative_exclude_joints"] == ["left_gripper", "right_gripper"]
    for name, index in (("policy_preprocessor", 6), ("policy_postprocessor", 0)):
        steps = json.loads((tmp_path / "out" / f"{name}.json").read_text())["steps"]
        held = load_file(tmp_path / "out" / steps[index]["state_file"])
        torch.testing.assert_close(held["action.std"], torch.full((16,), 0.2), atol=2e-6, rtol=0)


def test_a_folder_for_lerobot_names_the_images_in_the_order_that_the_network_saw(
    ours, tmp_path, capsys
):
    save_file(file_of(ours, "lerobot"), tmp_path / "model.safetensors")
    cameras = ("cam_left_wrist", "cam_right_wrist", "cam_high")
    common = {"language": False, "preset": "tiny", "actions": "absolute", "cameras": cameras}
    common |= {"statistics": statistics_in(tmp_path)}
    import_pi0(ImportPi0Config(source=tmp_path, output=tmp_path / "in", **common))
    export_pi0(ExportPi0Config(checkpoint=tmp_path / "in", output=tmp_path / "out"))
    read = json.loads((tmp_path / "out" / "config.json").read_text())["input_features"]
    images = [key.rpartition(".")[2] for key in read if "images" in key]
    assert images == ["cam_high", "cam_left_wrist", "cam_right_wrist"]
    assert "it learned without instructions" in capsys.readouterr().out


def test_an_exported_folder_tells_the_space_of_its_actions_when_it_is_imported(
    ours, tmp_path, capsys
):
    save_file(file_of(ours, "lerobot"), tmp_path / "model.safetensors")
    table = {"mean": [0.5] * 16, "std": [0.2] * 16, "q01": [0.0] * 16, "q99": [1.0] * 16}
    given = tmp_path / "norm_stats.json"
    given.write_text(json.dumps({"norm_stats": {"state": table, "actions": table}}))
    common = {"language": False, "preset": "tiny"}
    first = ImportPi0Config(source=tmp_path, output=tmp_path / "in", statistics=given, **common)
    with pytest.raises(UsageError, match=r"norm_stats\.json does not say of which actions it is"):
        import_pi0(first)
    import_pi0(dataclasses.replace(first, actions="relative"))
    folder = tmp_path / "out"
    export_pi0(ExportPi0Config(checkpoint=first.output, output=folder))
    again = ImportPi0Config(source=folder, output=tmp_path / "again", **common)
    capsys.readouterr()
    assert import_pi0(again) == 0
    assert load_checkpoint(again.output).training["actions"] == "relative"
    assert "policy_preprocessor_step_6_normalizer_processor" in capsys.readouterr().out
    known = dataclasses.replace(again, statistics=folder / "norm_stats.json")
    assert import_pi0(known) == 0
    stored = load_checkpoint(known.output)
    assert stored.training["statistics_known"] and stored.training["actions"] == "relative"
    assert stored.statistics.relative == (*range(7), *range(8, 15))
    assert "not read" not in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"--actions says absolute, use_relative_actions in"):
        import_pi0(dataclasses.replace(known, actions="absolute"))
    told = json.loads((folder / "norm_stats.json").read_text())
    (folder / "norm_stats.json").write_text(json.dumps({**told, "relative": []}))
    with pytest.raises(UsageError, match=r"says relative, relative in .* says absolute"):
        import_pi0(known)
    (folder / "norm_stats.json").write_text(json.dumps({**told, "relative": [0, 1]}))
    with pytest.raises(CheckpointError, match=r"has differences in columns \[0, 1\]"):
        import_pi0(known)


def test_a_policy_with_language_needs_a_tokenizer(ours, tmp_path):
    config = ImportPi0Config(
        source=tmp_path, output=tmp_path / "out", preset="full", tokenizer=tmp_path
    )
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        import_pi0(config)  # a wrong folder is not blamed on the tokenizer
    save_file(file_of(ours, "lerobot"), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="accept the Gemma licence"):
        import_pi0(config)


@pytest.mark.parametrize(
    ("mapping", "more", "found"),
    [
        ({"STATE": "MEAN_STD", "ACTION": "MEAN_STD"}, {}, (0.5, 0.2)),
        ({"STATE": "QUANTILES", "ACTION": "QUANTILES"}, {}, (0.0, 1.0)),
        ({}, {}, (0.0, 1.0)),
        ({"STATE": "MIN_MAX", "ACTION": "MIN_MAX"}, {}, "by MIN_MAX; need one of MEAN_STD, QUAN"),
        ({"STATE": "MEAN_STD", "ACTION": "QUANTILES"}, {}, "by MEAN_STD and QUANTILES; need one"),
        (
            {},
            {"use_relative_actions": True, "relative_exclude_joints": []},
            "differences of gripp",
        ),
    ],
)
def test_statistics_scale_as_the_files_beside_the_weights_say(
    tmp_path, cell, mapping, more, found
):
    table = {"mean": [0.5] * 16, "std": [0.2] * 16, "q01": [-1.0] * 16, "q99": [1.0] * 16}
    file = tmp_path / "norm_stats.json"
    file.write_text(json.dumps({"norm_stats": {"state": table, "actions": table}}))
    told = {"normalization_mapping": mapping, **more}
    (tmp_path / "config.json").write_text(json.dumps(told))
    space = "relative" if more else "absolute"
    config = ImportPi0Config(
        source=tmp_path, output=tmp_path / "out", statistics=file, actions=space
    )
    if isinstance(found, str):
        with pytest.raises(CheckpointError, match=found):
            learned_numbers(config, cell, quantiles=True)
        return
    state = learned_numbers(config, cell, quantiles=True).statistics.state
    assert (state.mean[0], state.std[0]) == pytest.approx(found, abs=1e-5)


@pytest.mark.parametrize(
    ("mapping", "told"),
    [("MEAN_STD", False), ("QUANTILES", True), ("MIN_MAX", None), ("", None)],
)
def test_how_weights_were_scaled_is_known_without_their_statistics(tmp_path, cell, mapping, told):
    norms = {"STATE": mapping, "ACTION": mapping} if mapping else {}
    (tmp_path / "config.json").write_text(json.dumps({"normalization_mapping": norms}))
    config = ImportPi0Config(source=tmp_path, output=tmp_path / "out", actions="absolute")
    assert learned_numbers(config, cell).by_quantiles is told


@pytest.mark.parametrize(
    ("mean", "std", "why"),
    [
        (0.5, 0.4, ""),  # a gripper that is open or closed, quantiles not told
        (10.0, 30.0, "look like degrees"),
        (0.5, 5.0, "left_arm_1 spans"),
    ],
)
def test_statistics_that_the_cell_cannot_have_keep_weights_from_driving(
    tmp_path, cell, mean, std, why
):
    table = {"mean": [mean] * 16, "std": [std] * 16}
    file = tmp_path / "norm_stats.json"
    file.write_text(json.dumps({"norm_stats": {"state": table, "actions": table}}))
    config = ImportPi0Config(
        source=tmp_path, output=tmp_path / "out", statistics=file, actions="absolute"
    )
    needs = learned_numbers(config, cell).needs(cell)
    assert why in "; ".join(needs) if why else needs == []


def test_statistics_of_openpi_are_z_scores_with_its_epsilon(tmp_path, cell):
    table = {"mean": [0.5] * 32, "std": [0.0] * 32, "q01": None, "q99": None}
    file = tmp_path / "norm_stats.json"
    file.write_text(json.dumps({"norm_stats": {"state": table, "actions": table}}))
    statistics = read_norm_stats(file, cell, relative=True)
    assert statistics.action.mean == (0.5,) * 16
    assert statistics.action.std == (1e-6,) * 16
    assert statistics.relative == (*range(7), *range(8, 15))
    assert read_norm_stats(file, cell).relative == ()
    short = {"mean": [0.0] * 14, "std": [1.0] * 14}
    file.write_text(json.dumps({"norm_stats": {"state": short, "actions": short}}))
    with pytest.raises(CheckpointError, match="14 entries, the cell's layout 16"):
        read_norm_stats(file, cell)
    wide = {"mean": [0.0] * 18, "std": [1.0] * 18}
    file.write_text(json.dumps({"norm_stats": {"state": wide, "actions": wide}}))
    with pytest.raises(CheckpointError, match="18 entries, the cell's layout 16, with padding 32"):
        read_norm_stats(file, cell)
    file.write_text(json.dumps({"norm_stats": {"state": table, "actions": table}}))
    with pytest.raises(CheckpointError, match="each with mean and std, q01 and q99"):
        read_norm_stats(file, cell, quantiles=True)
    file.write_text("{}")
    with pytest.raises(CheckpointError, match=r"no norm_stats\.json of openpi"):
        read_norm_stats(file, cell)


def test_the_checkpoint_of_an_import_says_that_it_has_no_statistics(ours, tmp_path, capsys):
    save_file(file_of(ours, "openpi"), tmp_path / "model.safetensors")
    output = tmp_path / "out"
    import_pi0(ImportPi0Config(source=tmp_path, output=output, language=False, preset="tiny"))
    stored = load_checkpoint(output)
    assert stored.training["policy"] == {"name": "pi0", "preset": "tiny"}
    command = "ate finetune --init {} --variant vision --actions relative"
    assert command.format("FOLDER") in stored.card
    assert command.format(output) in capsys.readouterr().out
    assert "fine-tune before running" in stored.card and "Gemma" in stored.card
    assert set(stored.statistics.action.std) == {1.0}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            {"mean": "x"},
            r"norm_stats\.state\.mean is 'x', must be a list of numbers: it must hold",
        ),
        ({"mean": [0.5, "x"]}, r"norm_stats\.state\.mean\[1\] is 'x', must be a finite number"),
        ({"std": [0.1, float("nan")]}, r"state\.std\[1\] is nan, must be a finite number"),
        ({"std": [0.1, 10**400]}, r"state\.std\[1\] is 1000.*, must be a finite number"),
        ({"std": [True] * 16}, r"state\.std\[0\] is True, must be a finite number"),
        ({"std": [0.1, -0.4] + [0.1] * 14}, r"state\.std\[1\] is -0\.4, must be 0 or more"),
        ({"q01": [2.0] * 16}, r"state\.q01\[0\] is 2\.0, must be no more than q99, 1"),
        ({"q01": {"a": 1}}, r"state\.q01 is .*, must be a list of numbers"),
        ({"std": None}, r"no norm_stats\.json of openpi, norm_stats\.state\.std is not there"),
        ([1], r"norm_stats\.state is \[1\], must be an object"),
    ],
)
def test_a_wrong_entry_of_statistics_is_told_by_name(tmp_path, cell, table, words):
    file = tmp_path / "norm_stats.json"
    state = {**SOUND, **table} if isinstance(table, dict) else table
    file.write_text(json.dumps({"norm_stats": {"state": state, "actions": SOUND}}))
    with pytest.raises(CheckpointError, match=words) as caught:
        read_norm_stats(file, cell)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_statistics_by_robot_are_told_by_their_names(tmp_path, cell):
    file = tmp_path / "norm_stats.json"
    one = {"state": SOUND, "actions": SOUND}
    file.write_text(json.dumps({"norm_stats": {"trossen": one, "droid": one}}))
    with pytest.raises(CheckpointError, match="holds those of trossen, droid, must hold state"):
        read_norm_stats(file, cell)
    with pytest.raises(CheckpointError, match=r"cannot be read .*: it must hold norm"):
        read_norm_stats(tmp_path, cell)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"normalization_mapping": ["a"]}, r"normalization_mapping is \['a'\], must be an object"),
        ({"normalization_mapping": {"STATE": 3}}, r"mapping\.STATE is 3, must be a text"),
        ({"use_relative_actions": "no"}, r"use_relative_actions is 'no', must be true or false"),
    ],
)
def test_a_wrong_entry_of_lerobots_settings_is_told_by_name(tmp_path, cell, told, words):
    file = tmp_path / "norm_stats.json"
    file.write_text(json.dumps({"norm_stats": {"state": SOUND, "actions": SOUND}}))
    (tmp_path / "config.json").write_text(json.dumps(told))
    config = ImportPi0Config(
        source=tmp_path, output=tmp_path / "out", statistics=file, actions="absolute"
    )
    with pytest.raises(CheckpointError, match=words) as caught:
        learned_numbers(config, cell)
    assert "config.json" in str(caught.value) and "\n" not in str(caught.value)


def near_home(cell, **changes):
    """Statistics that this cell may have, with some of the state's entries changed."""
    mean = [*cell.arms["left"].home, 0.5, *cell.arms["right"].home, 0.5]
    table = {
        "mean": mean,
        "std": [0.1] * 16,
        "q01": [one - 0.2 for one in mean],
        "q99": [one + 0.2 for one in mean],
    }
    return {"norm_stats": {"state": {**table, **changes}, "actions": table}}


def test_a_joint_that_rested_in_pre_training_keeps_the_policy_from_running(
    ours, tmp_path, cell, capsys
):
    save_file(file_of(ours, "lerobot"), tmp_path / "model.safetensors")
    file = tmp_path / "norm_stats.json"
    common = {"source": tmp_path, "statistics": file, "language": False, "preset": "tiny"}
    common |= {"actions": "absolute", "horizon": 6}
    file.write_text(json.dumps(near_home(cell, std=[0.1, 0.1, 0.0, *[0.1] * 13])))
    import_pi0(ImportPi0Config(output=tmp_path / "rested", **common))
    assert "state left_arm_3 rested in pre-training" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match=r"left_arm_3 .* 0\.01 rad .* as 10000: fine-tune"):
        compare_training(load_policy(tmp_path / "rested"), cell, "")
    file.write_text(json.dumps(near_home(cell)))
    import_pi0(ImportPi0Config(output=tmp_path / "moved", **common))
    assert "runs only after" not in capsys.readouterr().out
    compare_training(load_policy(tmp_path / "moved"), cell, "")


def test_weights_whose_statistics_nobody_knows_do_not_run(ours, tmp_path, cell):
    save_file(file_of(ours, "lerobot"), tmp_path / "model.safetensors")
    common = {"language": False, "preset": "tiny"}
    import_pi0(ImportPi0Config(source=tmp_path, output=tmp_path / "out", **common))
    with pytest.raises(CheckpointError, match="were normalised with is not known: fine-tune"):
        compare_training(load_policy(tmp_path / "out"), cell, "")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "whether its actions are absolute or relative, nor the statistics that"),
        ({"actions": "relative"}, "does not know the statistics that its weights learned with"),
    ],
)
def test_what_nobody_knows_is_not_exported_as_if_it_were_known(ours, tmp_path, given, words):
    save_file(file_of(ours, "lerobot"), tmp_path / "model.safetensors")
    common = {"language": False, "preset": "tiny", **given}
    import_pi0(ImportPi0Config(source=tmp_path, output=tmp_path / "in", **common))
    with pytest.raises(CheckpointError, match=rf"{words}.*: fine-tune it first, or import it"):
        export_pi0(ExportPi0Config(checkpoint=tmp_path / "in", output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
