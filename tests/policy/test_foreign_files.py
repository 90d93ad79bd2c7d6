"""What people have in place of a folder of weights is called by its name, for every importer."""

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from ate_core.errors import CheckpointError
from ate_policy.models.foreign_files import INDEX, SINGLE
from ate_policy.models.foreign_weights import read_folder, rename_all, weight_names
from training.configs.import_dp import ImportDpConfig
from training.configs.import_pi0 import ImportPi0Config
from training.configs.import_rdt import ImportRdtConfig
from training.configs.import_vae import ImportVaeConfig
from training.import_dp import import_dp
from training.import_pi0 import import_pi0
from training.import_rdt import import_rdt
from training.import_vae import import_vae

WEIGHTS = {"a.weight": torch.zeros(2, 2), "b.weight": torch.ones(2)}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 7000000000\n"

IMPORTERS = {
    "pi0": (import_pi0, ImportPi0Config),
    "rdt": (import_rdt, ImportRdtConfig),
    "dp": (import_dp, ImportDpConfig),
}


def pointer(folder):
    (folder / SINGLE).write_bytes(POINTER)
    return folder, r"is a git-lfs pointer of 7\d bytes, not the file.*git lfs pull"


def pointer_of_a_shard(folder):
    (folder / "a.safetensors").write_bytes(POINTER)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "a.safetensors"}}))
    return folder, r"a\.safetensors is a git-lfs pointer"


def adapter(folder):
    told = {"base_model_name_or_path": "lerobot/pi0_base"}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    save_file(WEIGHTS, folder / "adapter_model.safetensors")
    return folder, r"adapter \(LoRA\) of lerobot/pi0_base: merge .*merge_and_unload"


def adapter_beside_its_network(folder):
    save_file(WEIGHTS, folder / SINGLE)
    (folder / "adapter_config.json").write_text("[]")
    return folder, r"adapter \(LoRA\) of another network: merge"


def adapter_inside(folder):
    name = "model.layers.0.q_proj.lora_A.default.weight"
    save_file({**WEIGHTS, name: torch.zeros(1)}, folder / SINGLE)
    return folder, rf"holds {name}, of an adapter .* not merged: merge"


def cache(folder):
    held = folder / "models--lerobot--pi0_base"
    (held / "blobs").mkdir(parents=True)
    (held / "snapshots" / "abc").mkdir(parents=True)
    save_file(WEIGHTS, held / "blobs" / "xyz")
    (held / "snapshots" / "abc" / SINGLE).symlink_to("../../blobs/xyz")
    return held, r"is a Hugging Face cache, .*: give .*pi0_base/snapshots/abc$"


def cache_of_many(folder):
    cache(folder)
    return folder, r"is a Hugging Face cache, .*: give .*pi0_base/snapshots/abc$"


def snapshots(folder):
    held, words = cache(folder)
    return held / "snapshots", words


def empty_cache(folder):
    held, _ = cache(folder)
    shutil.rmtree(held / "snapshots")
    return held, "is a Hugging Face cache, .*: it holds no weights: download them again"


def broken_link(folder):
    held, _ = cache(folder)
    (held / "blobs" / "xyz").unlink()
    return (
        held / "snapshots" / "abc",
        r"is a link to \.\./\.\./blobs/xyz, which is not there.*cp -rL",
    )


def file_in_place_of_its_folder(folder):
    save_file(WEIGHTS, folder / SINGLE)
    return folder / SINGLE, rf"is a file, must be the folder that holds it: give {folder}$"


def nothing(folder):
    return folder / "nowhere", r"nowhere is no folder: "


CASES = (
    pointer,
    pointer_of_a_shard,
    adapter,
    adapter_beside_its_network,
    adapter_inside,
    cache,
    cache_of_many,
    snapshots,
    empty_cache,
    broken_link,
    file_in_place_of_its_folder,
    nothing,
)


@pytest.mark.parametrize("importer", IMPORTERS)
@pytest.mark.parametrize("case", CASES)
def test_what_is_no_folder_of_weights_is_called_by_its_name(tmp_path, case, importer):
    folder = tmp_path / "given"
    folder.mkdir()
    source, words = case(folder)
    run, config = IMPORTERS[importer]
    with pytest.raises(CheckpointError, match=words) as caught:
        run(config(source=source, output=tmp_path / "out"))
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_the_file_of_a_vae_is_told_the_same(tmp_path):
    file = tmp_path / "Best.pth"
    config = ImportVaeConfig(source=file, output=tmp_path / "out", motions=4)
    file.write_bytes(POINTER)
    with pytest.raises(CheckpointError, match=r"Best\.pth is a git-lfs pointer"):
        import_vae(config)
    file.unlink()
    file.symlink_to("gone")
    with pytest.raises(CheckpointError, match=r"is a link to gone, which is not there"):
        import_vae(config)
    torch.save({"global_motion_token.lora_A": torch.zeros(1)}, tmp_path / "lora.pth")
    with pytest.raises(CheckpointError, match=r"of an adapter \(LoRA\) that is not merged"):
        import_vae(dataclasses.replace(config, source=tmp_path / "lora.pth"))
    held, _ = cache(tmp_path)
    with pytest.raises(CheckpointError, match=r"is a folder, must be a file: give .*/abc"):
        import_vae(dataclasses.replace(config, source=held))


def sharded(folder, table, **files):
    (folder / "part").mkdir()
    for name, held in files.items():
        save_file(held, folder / "part" / f"{name}.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": table}))
    return folder


def test_shards_in_folders_of_their_own_are_read(tmp_path):
    first, second = ({name: value} for name, value in WEIGHTS.items())
    table = {"a.weight": "part/one.safetensors", "b.weight": "./part/two.safetensors"}
    held = read_folder(sharded(tmp_path, table, one=first, two=second), "")
    assert all(torch.equal(held[name], value) for name, value in WEIGHTS.items())
    assert weight_names(tmp_path, "") == list(WEIGHTS)


@pytest.mark.parametrize(
    "place", ["../one.safetensors", "/tmp/one.safetensors", "a/../../b", "", 3]
)
def test_a_shard_outside_its_folder_is_never_read(tmp_path, place):
    folder = tmp_path / "given"
    folder.mkdir()
    save_file(WEIGHTS, tmp_path / "one.safetensors")
    sharded(folder, {"a.weight": place, "b.weight": place})
    with pytest.raises(CheckpointError, match=r"names .* for a\.weight, must be a file inside"):
        read_folder(folder, "")


@pytest.mark.parametrize(
    "kind", ["float8_e4m3fn", "float8_e5m2", "int8", "uint8", "bool", "int64"]
)
def test_quantised_weights_are_refused_by_name_and_type(tmp_path, kind):
    held = {**WEIGHTS, "a.weight": torch.ones(2, 2).to(getattr(torch, kind))}
    save_file(held, tmp_path / SINGLE)
    theirs = read_folder(tmp_path, "")
    with pytest.raises(
        CheckpointError,
        match=rf"a\.weight is of {kind} \(1 of 2 .* float64, float32, float16, bfloat16\): they "
        "were quantised, give the folder from before that",
    ):
        rename_all(theirs, ())


@pytest.mark.parametrize("kind", ["float64", "float16", "bfloat16"])
def test_weights_in_every_floating_type_of_training_are_read(kind):
    held = {"a.weight": torch.ones(2, 2).to(getattr(torch, kind))}
    assert rename_all(held, ())["a.weight"].dtype == getattr(torch, kind)
