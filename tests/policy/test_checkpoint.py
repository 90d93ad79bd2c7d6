import dataclasses
import errno
import json
import math
import os
import resource
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from ate_core.checkpoint_folders import require_sound_tensors
from ate_core.errors import AteError, CheckpointError, LayoutError
from ate_core.layout import Field
from ate_policy.checkpoint import (
    load_checkpoint,
    point_latest,
    resolve_checkpoint,
    save_checkpoint,
)
from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig
from ate_policy.policy import checkpoint_of
from ate_policy.transforms import Statistics, VectorStatistics


@pytest.fixture
def checkpoint(cell):
    table = VectorStatistics(mean=(0.1,) * 16, std=(0.3,) * 16, q01=(-1.0,) * 16, q99=(1.0,) * 16)
    torch.manual_seed(0)
    model = FlowPolicy(FlowPolicyConfig(width=16, blocks=1))
    return checkpoint_of(
        "flow",
        model.config,
        weights=model.state_dict(),
        statistics=Statistics(state=table, action=table),
        contract=cell.canonical_text(),
        training={"steps": 1},
        card="# A policy\n",
    )


def test_what_is_saved_is_loaded(tmp_path, checkpoint, cell):
    save_checkpoint(tmp_path / "policy", checkpoint)
    loaded = load_checkpoint(tmp_path / "policy", cell)
    for name, value in checkpoint.weights.items():
        assert torch.equal(loaded.weights[name], value)
    assert loaded.statistics == checkpoint.statistics
    assert loaded.contract == checkpoint.contract
    assert FlowPolicyConfig(**loaded.model) == FlowPolicyConfig(width=16, blocks=1)
    assert loaded.card == "# A policy\n"


def test_the_folder_holds_the_five_files_and_nothing_executable(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "policy", checkpoint)
    assert sorted(file.name for file in (tmp_path / "policy").iterdir()) == [
        "README.md",
        "config.json",
        "contract.yaml",
        "model.safetensors",
        "statistics.json",
    ]


def test_a_tokenizer_travels_with_the_checkpoint(tmp_path, checkpoint):
    source = tmp_path / "tokenizer_of_gemma"
    source.mkdir()
    (source / "tokenizer.json").write_text("{}")
    named = dataclasses.replace(checkpoint, model={**checkpoint.model, "tokenizer": str(source)})
    save_checkpoint(tmp_path / "policy", named)
    shutil.rmtree(source)
    (tmp_path / "policy").rename(tmp_path / "copy")
    folder = Path(load_checkpoint(tmp_path / "copy").model["tokenizer"])
    assert folder == tmp_path / "copy" / "tokenizer"
    assert (folder / "tokenizer.json").read_text() == "{}"


def test_a_cell_with_another_layout_is_refused_by_field_name(tmp_path, checkpoint, cell):
    save_checkpoint(tmp_path / "policy", checkpoint)
    fields = list(cell.vectors.action)
    fields[1] = Field(name="left_gripper", unit="m", size=1)
    vectors = dataclasses.replace(cell.vectors, action=tuple(fields))
    other = dataclasses.replace(cell, vectors=vectors)
    with pytest.raises(LayoutError, match=r"action field 1: left_gripper \[m\]"):
        load_checkpoint(tmp_path / "policy", other)


def test_a_contract_that_was_edited_is_refused(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "policy", checkpoint)
    file = tmp_path / "policy" / "contract.yaml"
    file.write_text(file.read_text().replace("tick_rate: 20.0", "tick_rate: 30.0"))
    with pytest.raises(LayoutError, match="edited"):
        load_checkpoint(tmp_path / "policy")


@pytest.mark.parametrize("name", ["model.safetensors", "statistics.json", "moments.safetensors"])
def test_files_of_two_checkpoints_are_not_taken_for_one(tmp_path, checkpoint, name):
    moments = {"moments": {"mean": torch.zeros(3)}}
    first = dataclasses.replace(checkpoint, extra=moments)
    wide = dataclasses.replace(checkpoint.statistics.action, std=(0.6,) * 16)
    second = dataclasses.replace(
        first,
        statistics=dataclasses.replace(checkpoint.statistics, action=wide),
        training={"steps": 2},
    )
    for folder, one in (("one", first), ("two", second)):
        save_checkpoint(tmp_path / folder, one)
    shutil.copy(tmp_path / "two" / name, tmp_path / "one" / name)
    with pytest.raises(CheckpointError, match=r"two checkpoints|of another checkpoint") as refused:
        load_checkpoint(tmp_path / "one")
    assert name in str(refused.value) and "copy the whole folder again" in str(refused.value)


def test_tensors_of_older_checkpoints_which_do_not_say_whose_they_are_are_read(
    tmp_path, checkpoint
):
    save_checkpoint(tmp_path / "policy", checkpoint)
    save_file(dict(checkpoint.weights), tmp_path / "policy" / "model.safetensors")
    assert load_checkpoint(tmp_path / "policy").statistics == checkpoint.statistics


def test_a_failed_write_leaves_the_old_checkpoint_and_no_rubbish(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "policy", checkpoint)
    broken = dataclasses.replace(checkpoint, training={"what": object()})
    with pytest.raises(TypeError):
        save_checkpoint(tmp_path / "policy", broken)
    assert load_checkpoint(tmp_path / "policy").training == {"steps": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["policy"]


def test_a_folder_is_replaced_as_a_whole(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "policy", checkpoint)
    save_checkpoint(tmp_path / "policy", dataclasses.replace(checkpoint, training={"steps": 2}))
    assert load_checkpoint(tmp_path / "policy").training == {"steps": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["policy"]


def test_a_run_folder_stands_for_its_newest_checkpoint(tmp_path, checkpoint):
    for step in (1, 2):
        folder = tmp_path / f"step_{step}"
        save_checkpoint(folder, dataclasses.replace(checkpoint, training={"steps": step}))
        point_latest(tmp_path, folder)
    assert load_checkpoint(tmp_path).training == {"steps": 2}
    assert resolve_checkpoint(tmp_path) == (tmp_path / "step_2").resolve()


def test_a_full_disk_is_named_and_spares_what_is_there(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "policy", checkpoint)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(CheckpointError, match=r"model.safetensors \(.* GB\).*ulimit -f"):
            save_checkpoint(tmp_path / "policy", dataclasses.replace(checkpoint, training={}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_checkpoint(tmp_path / "policy").training == {"steps": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["policy"]


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EDQUOT, errno.ENOSPC])
@pytest.mark.parametrize("call", ["fsync", "tensors"])
def test_a_disk_that_refuses_is_named_and_spares_what_is_there(
    tmp_path, checkpoint, monkeypatch, number, call
):
    save_checkpoint(tmp_path / "policy", checkpoint)

    def refuse(*_, **__):
        if call == "fsync":
            raise OSError(number, os.strerror(number))
        told = f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})"
        raise SafetensorError(told)

    place = "os.fsync" if call == "fsync" else "ate_policy.checkpoint.save_file"
    with monkeypatch.context() as disk:
        disk.setattr(place, refuse)
        with pytest.raises((CheckpointError, OSError), match=os.strerror(number)) as caught:
            save_checkpoint(tmp_path / "policy", dataclasses.replace(checkpoint, training={}))
    if call == "tensors":
        is_room = number in (errno.EDQUOT, errno.ENOSPC)
        assert ("free space" in str(caught.value)) == is_room
    assert load_checkpoint(tmp_path / "policy").training == {"steps": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["policy"]


@pytest.mark.parametrize("name", ["model.safetensors", "contract.yaml", "statistics.json"])
def test_an_incomplete_folder_is_refused_by_file_name(tmp_path, checkpoint, name):
    save_checkpoint(tmp_path / "policy", checkpoint)
    (tmp_path / "policy" / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(tmp_path / "policy")


def test_damaged_and_foreign_folders_are_refused_in_one_line(tmp_path, checkpoint):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_checkpoint(tmp_path)
    save_checkpoint(tmp_path / "policy", checkpoint)
    with pytest.raises(CheckpointError, match="of kind flow, must be action_vae"):
        load_checkpoint(tmp_path / "policy", kind="action_vae")
    cut = tmp_path / "cut"
    shutil.copytree(tmp_path / "policy", cut)
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot be read") as refusal:
        load_checkpoint(cut)
    assert "\n" not in str(refusal.value)
    config = json.loads((tmp_path / "policy" / "config.json").read_text())
    (tmp_path / "policy" / "config.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(tmp_path / "policy")


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path, checkpoint, kind, value):
    largest = torch.full((3, 5), torch.finfo(kind).max, dtype=kind)
    sound = {"first": -largest, "none": torch.zeros(0), "count": torch.tensor(-1)}
    save_checkpoint(tmp_path / "sound", dataclasses.replace(checkpoint, weights=sound))
    assert load_checkpoint(tmp_path / "sound").weights.keys() == sound.keys()
    bad = largest.clone()
    bad[2, 4] = value
    weights = {**sound, "second": bad}
    save_checkpoint(tmp_path / "bad", dataclasses.replace(checkpoint, weights=weights))
    with pytest.raises(
        CheckpointError, match=r"^second of .* is not finite: .*earlier checkpoint"
    ):
        load_checkpoint(tmp_path / "bad")


def test_a_header_that_is_none_is_refused_in_one_line(tmp_path, no_object):
    file = tmp_path / "model.safetensors"
    for header in (no_object, b'{"a": {"dtype": "F32"}}', b'{"a": {"data_offsets": [0, 4]}}'):
        file.write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(CheckpointError, match=r"model\.safetensors") as refusal:
            require_sound_tensors(file)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["config.json", "contract.yaml", "statistics.json"])
def test_a_damaged_part_is_refused_in_one_line(tmp_path, checkpoint, name, no_object):
    folder = tmp_path / "policy"
    save_checkpoint(folder, checkpoint)
    (folder / name).write_bytes(no_object)
    with pytest.raises(AteError) as refusal:
        load_checkpoint(folder)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("entry", ["model", "training"])
@pytest.mark.parametrize("value", [None, 3, [], [[1, 2]], "tiny"])
def test_an_entry_that_is_no_object_is_named(tmp_path, checkpoint, entry, value):
    folder = tmp_path / "policy"
    save_checkpoint(folder, checkpoint)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, entry: value}))
    with pytest.raises(CheckpointError, match=f"{entry} of .*config.json is .*must be an object"):
        load_checkpoint(folder)


def test_a_card_that_is_no_text_keeps_nobody_from_the_weights(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "policy", checkpoint)
    (tmp_path / "policy" / "README.md").write_bytes(b"# \xff\n")
    assert load_checkpoint(tmp_path / "policy").card == "# \ufffd\n"
