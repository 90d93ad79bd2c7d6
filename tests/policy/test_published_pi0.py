"""What lerobot's config.json tells of weights is taken over, or refused with both values."""

import dataclasses
import json
import re
from itertools import pairwise

import pytest
import torch
from safetensors.torch import save_file

from ate_core.errors import CheckpointError, UsageError
from ate_policy.checkpoint import load_checkpoint
from ate_policy.first_look import compare_training
from ate_policy.models.pi0 import Pi0, Pi0Config
from ate_policy.models.pi0_config import Pi05Config
from ate_policy.models.pi0_entry import PRESETS
from ate_policy.models.pi0_weights import export_weights
from ate_policy.policy import load_policy
from training.configs.import_pi0 import ExportPi0Config, ImportPi0Config
from training.import_pi0 import export_pi0, import_pi0, learned_numbers
from training.pretrained.published import read_published

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
SIZES = Pi0Config(**PRESETS["tiny"].sizes)
OPENPI = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")


def features(*images, state=16, shape=(3, 28, 28)):
    """Inputs as lerobot lists them."""
    return {
        "observation.state": {"type": "STATE", "shape": [state]},
        **{
            f"observation.images.{key}": {"type": "VISUAL", "shape": list(shape)} for key in images
        },
    }


@pytest.fixture
def published(tmp_path, cell):
    """A function that reads what a config.json tells."""

    def read(told, kind="pi0", sizes=SIZES, **given):
        (tmp_path / "config.json").write_text(json.dumps(told))
        config = ImportPi0Config(source=tmp_path, output=tmp_path / "out", preset="tiny", **given)
        return read_published(config, cell, kind, sizes)

    return read


def test_chunks_and_steps_are_taken_over(published):
    told = {"type": "pi0", "chunk_size": 10, "n_action_steps": 4, "num_inference_steps": 5}
    found = published(told)
    assert found.fields == {"horizon": 10, "steps": 5} and not found.differs
    assert found.remarks == ["lerobot executes 4 actions of a chunk: start it with execute:=4"]
    own = published({**told, "n_action_steps": 10}, horizon=20)
    assert own.fields["horizon"] == 20 and own.remarks == ["chunks of 20 actions, it learned 10"]
    assert published({"num_steps": 7}).fields == {"steps": 7}  # lerobot before 0.4
    assert published({"action_horizon": 50, "action_dim": 32}).fields == {"horizon": 50}  # openpi
    assert published({}).fields == {}
    (remark,) = published({"tokenizer_max_length": 96}).remarks
    assert remark == "it read instructions of 96 tokens, here they are cut after 48"
    wide = Pi05Config(**PRESETS["tiny"].sizes)
    assert not published({"tokenizer_max_length": 200}, "pi05", wide).remarks


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"type": "pi05"}, "is of a pi05, the weights beside it are of a pi0: copy both"),
        ({"n_obs_steps": 2}, "n_obs_steps is 2.*, must be 1, as the network computes"),
        ({"max_period": 8.0}, r"max_period is 8\.0, must be 4\.0"),
        ({"adapt_to_pi_aloha": True}, "adapt_to_pi_aloha is True, must be False"),
        ({"max_state_dim": 64}, "max_state_dim is 64, must be 32: give weights of that width"),
        ({"max_action_dim": 14}, "max_action_dim is 14, must be 32"),
        ({"action_dim": 24}, "action_dim is 24, must be 32"),
        ({"image_resolution": [448, 448]}, r"is \[448, 448\], must be \[28, 28\], .* --preset"),
        ({"resize_imgs_with_padding": [224, 224]}, r"is \[224, 224\], must be \[28, 28\]"),
        (
            {"normalization_mapping": {"VISUAL": "MEAN_STD"}},
            r"normalization_mapping\.VISUAL is 'MEAN_STD', must be IDENTITY, .*: give weights",
        ),
        ({"chunk_size": "50"}, "chunk_size is '50', must be a whole number above 0: copy"),
        ({"chunk_size": 0}, "chunk_size is 0, must be a whole number above 0"),
        ({"num_inference_steps": 2.5}, r"num_inference_steps is 2\.5, must be a whole"),
        ({"input_features": ["a"]}, r"input_features is \['a'\], must be an object"),
        ({"input_features": {"a": [1]}}, r"input_features\.a is \[1\], must be an object"),
        ({"image_resolution": 28}, "image_resolution is 28, must be a list of 2 whole numbers"),
        ({"max_period": float("nan")}, "max_period is nan, must be a finite number"),
        ({"adapt_to_pi_aloha": "no"}, "adapt_to_pi_aloha is 'no', must be true or false"),
        ({"action_feature_names": [1]}, r"action_feature_names is \[1\], must be a list of texts"),
    ],
)
def test_what_the_network_here_does_otherwise_is_refused(published, told, words):
    with pytest.raises(CheckpointError, match=words) as caught:
        published(told)
    assert "config.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("images", "given", "cameras"),
    [
        (("cam_left_wrist",), (), ("cam_left_wrist",)),
        (OPENPI, (), CAMERAS),
        (("cam_high", "empty_camera_0"), (), ("cam_high",)),
        (("wrist",), ("cam_right_wrist",), ("cam_right_wrist",)),
        ((), (), CAMERAS),
        ((), ("cam_high",), ("cam_high",)),
    ],
)
def test_a_policy_sees_the_cameras_that_it_learned_from(published, images, given, cameras):
    found = published({"input_features": features(*images)}, cameras=given)
    assert found.cameras == cameras and not found.differs
    assert bool(found.remarks) == (images == ("wrist",))


def test_cameras_that_nobody_can_tell_are_asked_for(published):
    one = {"input_features": features("wrist")}
    with pytest.raises(UsageError, match=r"sees wrist: give --cameras, .* out of cam_high, cam_l"):
        published(one)
    with pytest.raises(UsageError, match=r"cameras are .*, the policy sees 1 \(wrist\): give one"):
        published(one, cameras=CAMERAS)
    with pytest.raises(UsageError, match="cameras names cam_low, the cell has cam_high"):
        published(one, cameras=("cam_low",))
    twice = {"input_features": features("a", "b")}
    with pytest.raises(UsageError, match="for each of them, once"):
        published(twice, cameras=("cam_high", "cam_high"))
    with pytest.raises(UsageError, match="sees base_0_rgb, cam_high: give"):  # both are overhead
        published({"input_features": features("base_0_rgb", "cam_high")})


def test_fewer_cameras_or_another_order_want_fine_tuning(published):
    told = {"input_features": features(*OPENPI)}
    fewer = published(told, cameras=("cam_high", "cam_left_wrist"))
    (why,) = fewer.differs
    assert why == (
        "it learned from 3 cameras (base_0_rgb, left_wrist_0_rgb, right_wrist_0_rgb), here it "
        "sees cam_high, cam_left_wrist"
    )
    (why,) = published({"input_features": features("cam_left_wrist", "cam_high")}).differs
    assert why == (
        "it saw its cameras in the order cam_left_wrist, cam_high, here cam_high, cam_left_wrist"
    )


def test_pictures_of_another_aspect_are_told(published, cell):
    camera = next(one for one in cell.cameras.values() if one.key == "cam_high")
    width, height = camera.width, camera.height
    square = {"input_features": features("cam_high", shape=(3, 480, 480))}
    (remark,) = published(square).remarks
    assert remark.startswith(f"cam_high had pictures of 480x480, the cell's are {width}x{height}")
    same = {"input_features": features("cam_high", shape=(3, height // 2, width // 2))}
    assert not published(same).remarks
    assert not published({"input_features": features("cam_high")}).remarks  # padded, of any


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"input_features": features(state=14)}, r"its observation\.state has 14 numbers, .* 16"),
        (
            {"output_features": {"action": {"type": "ACTION", "shape": [7]}}},
            "its action has 7 numbers, the cell's 16",
        ),
        ({"action_feature_names": "REVERSED"}, "its actions are right_gripper, right_arm_7, .*"),
    ],
)
def test_vectors_of_another_robot_are_fine_tuned_without_its_statistics(
    published, tmp_path, cell, told, words
):
    names = list(cell.layout.action.names)[::-1]
    told = {key: names if value == "REVERSED" else value for key, value in told.items()}
    (why,) = published(told).differs
    with pytest.raises(CheckpointError, match=rf"{words}, so that .*: leave out --statistics"):
        published(told, statistics=tmp_path / "norm_stats.json")
    assert re.search(words, why)
    base = {"input_features": features(*OPENPI, state=32)}
    assert not published(base, statistics=tmp_path / "norm_stats.json").differs


OTHERS = [f"joint_{index}.pos" for index in range(6)] + ["gripper.pos"]


@pytest.mark.parametrize(
    ("excluded", "names", "words"),
    [
        (["gripper"], "OWN", ""),
        (None, "OWN", ""),
        (["left_gripper", "RIGHT_GRIPPER"], "OWN", ""),
        (["gripper"], OTHERS, ""),
        (["gripper", "arm_7"], "OWN", "absolute targets of left_arm_7"),
        (["left_gripper"], "OWN", "differences of right_gripper"),
        (["jaw"], OTHERS, r"differences of gripper\.pos"),
        ([], "OWN", "differences of grippers too"),
        (["gripper", "arm_7"], None, "does not tell which columns stayed absolute .* arm_7"),
        ("gripper", "OWN", "relative_exclude_joints is 'gripper', must be a list of texts"),
    ],
)
@pytest.mark.parametrize("where", ["config.json", "policy_preprocessor.json"])
def test_only_grippers_may_have_stayed_absolute(tmp_path, cell, excluded, names, words, where):
    """Whether statistics are given or not; lerobot compares parts of the names."""
    names = list(cell.layout.action.names) if names == "OWN" else names
    told = {"use_relative_actions": True, "relative_exclude_joints": excluded}
    if where == "config.json":
        told["action_feature_names"] = names
    else:
        step = {"registry_name": "relative_actions_processor", "config": {"action_names": names}}
        (tmp_path / where).write_text(json.dumps({"steps": [3, step]}))
    (tmp_path / "config.json").write_text(json.dumps(told))
    config = ImportPi0Config(source=tmp_path, output=tmp_path / "out")
    if not words:
        assert learned_numbers(config, cell).actions == "relative"
        return
    with pytest.raises(CheckpointError, match=words):
        learned_numbers(config, cell)
    (tmp_path / "config.json").write_text(json.dumps({**told, "use_relative_actions": False}))
    assert learned_numbers(config, cell).actions == "absolute"


def write_weights(folder, **told):
    torch.manual_seed(0)
    network = Pi0(Pi0Config(**{**PRESETS["tiny"].sizes, "cameras": CAMERAS}))
    folder.mkdir()
    save_file(export_weights(network.state_dict(), lerobot=True), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(told))
    return folder


def near_home(cell, folder):
    """Statistics that this cell may have."""
    mean = [*cell.arms["left"].home, 0.5, *cell.arms["right"].home, 0.5]
    ends = {"q01": [one - 0.2 for one in mean], "q99": [one + 0.2 for one in mean]}
    table = {"mean": mean, "std": [0.1] * 16, **ends}
    file = folder / "norm_stats.json"
    file.write_text(json.dumps({"norm_stats": {"state": table, "actions": table}}))
    return file


def test_a_policy_goes_out_and_comes_back_as_it_was(tmp_path, cell, capsys):
    source = write_weights(
        tmp_path / "theirs",
        input_features=features("cam_left_wrist"),
        chunk_size=10,
        num_inference_steps=3,
    )
    first = ImportPi0Config(
        source=source,
        output=tmp_path / "one",
        preset="tiny",
        language=False,
        actions="relative",
        statistics=near_home(cell, tmp_path),
    )
    import_pi0(first)
    sizes = [load_checkpoint(first.output).model]
    assert (sizes[0]["horizon"], sizes[0]["steps"]) == (10, 3)
    assert list(sizes[0]["cameras"]) == ["cam_left_wrist"]
    for number in range(2):
        out = tmp_path / f"out{number}"
        export_pi0(ExportPi0Config(checkpoint=first.output, output=out))
        back = dataclasses.replace(
            first,
            source=out,
            actions=None,
            output=tmp_path / f"back{number}",
            statistics=out / "norm_stats.json",
        )
        import_pi0(back)
        sizes.append(load_checkpoint(back.output).model)
    assert all(one == other for one, other in pairwise(sizes))
    compare_training(load_policy(back.output), cell, "")
    assert "runs only after" not in capsys.readouterr().out


def test_a_policy_that_sees_fewer_cameras_than_it_learned_from_does_not_run(
    tmp_path, cell, capsys
):
    config = ImportPi0Config(
        source=write_weights(tmp_path / "theirs", input_features=features(*OPENPI)),
        output=tmp_path / "out",
        preset="tiny",
        language=False,
        actions="absolute",
        cameras=("cam_high",),
        statistics=near_home(cell, tmp_path),
    )
    import_pi0(config)
    said = capsys.readouterr().out
    assert "it runs only after fine-tuning: it learned from 3 cameras" in said
    assert "(cameras cam_high, it learned from base_0_rgb, left_wrist_0_rgb" in said
    with pytest.raises(CheckpointError, match=r"learned from 3 cameras .*: fine-tune them"):
        compare_training(load_policy(config.output), cell, "")
