"""pi0.5: its norms, its prompt, its weights, and how it is trained."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ate_core.errors import CheckpointError, LayoutError, UsageError
from ate_policy.models.inpainting import Inpainting
from ate_policy.models.interface import Inputs
from ate_policy.models.pi0 import Pi0
from ate_policy.models.pi0_config import Pi0Config, Pi05Config
from ate_policy.models.pi0_entry import PRESETS
from ate_policy.models.pi0_inputs import ByteTokenizer, state_prompt_ids
from ate_policy.models.pi0_weights import import_weights
from ate_policy.models.pi05 import Pi05
from ate_policy.models.pi05_layers import AdaptiveNorm, predict_adaptive
from ate_policy.policy import load_policy
from ate_policy.transforms import Normalise, Statistics, VectorStatistics
from training.configs.import_pi0 import ExportPi0Config, ImportPi0Config
from training.data.statistics import STD_FLOOR, quantile_statistics
from training.import_pi0 import export_pi0, import_pi0, read_norm_stats
from training.pretrained.lerobot_folder import write_lerobot_folder

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
SIZES = {**PRESETS["tiny"].sizes, "cameras": CAMERAS, "horizon": 6}


def tiny(**fields):
    """A tiny pi0.5 whose every part matters."""
    torch.manual_seed(0)
    model = Pi05(Pi05Config(**{**SIZES, **fields})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model


def observations(count=2):
    generator = torch.Generator().manual_seed(1)
    return Inputs(
        state=0.6 * torch.randn(count, 16, generator=generator),
        images=torch.rand(count, 3, 3, 28, 28, generator=generator) - 0.5,
    )


def noise(count=2):
    return torch.randn(count, 6, 32, generator=torch.Generator().manual_seed(2))


def file_of(model, naming):
    """The tensors of a file of lerobot or openpi, named without the code under test."""
    joint, theirs = "paligemma_with_expert.", {}
    for name, value in model.state_dict().items():
        name = name.removeprefix("network.").removeprefix("embed_action_time.")
        name = re.sub(r"^model\.vlm\.language_model\.embed_tokens", "HEAD", name)
        name = re.sub(r"^model\.vlm\.vision_tower\.", "VLM.vision_tower.vision_model.", name)
        name = re.sub(r"^model\.vlm\.", "VLM.", name)
        name = re.sub(r"^model\.dit\.", f"{joint}gemma_expert.model.", name)
        name = name.replace("HEAD", f"{joint}paligemma.lm_head")
        name = name.replace("VLM.", f"{joint}paligemma.model.")
        theirs[name if naming == "openpi" else f"model.{name}"] = value.clone()
    return theirs


def test_the_norm_is_that_of_a_hand_computation():
    torch.manual_seed(0)
    norm = AdaptiveNorm(4, 1e-6)
    torch.nn.init.normal_(norm.dense.weight)
    x, condition = torch.randn(2, 3, 4), torch.randn(2, 1, 4)
    y, gate = norm(x, condition)
    weight, bias = norm.dense.weight.detach().numpy(), norm.dense.bias.detach().numpy()
    made = condition.numpy() @ weight.T + bias
    scale, shift, expected = made[..., :4], made[..., 4:8], made[..., 8:]
    rms = np.sqrt(np.mean(x.numpy() ** 2, axis=-1, keepdims=True) + 1e-6)
    by_hand = x.numpy() / rms * (1 + scale) + shift
    np.testing.assert_allclose(y.detach(), by_hand, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gate.detach(), expected, rtol=1e-5, atol=1e-6)


def test_a_fresh_expert_changes_nothing_until_its_gates_open():
    torch.manual_seed(0)
    model = Pi05(Pi05Config(**SIZES))
    x, t = noise(), torch.tensor([0.3, 0.8])
    network = model.network
    tokens, _ = network.embed_action_time(x, t)
    plain = torch.nn.functional.rms_norm(tokens, tokens.shape[-1:], eps=1e-6)
    expected = network.action_out_proj(plain)
    torch.testing.assert_close(model(x, t, observations()), expected)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (-1.0, 0),
        (-0.9922, 0),
        (-0.992, 1),
        (0.0, 128),
        (0.999, 255),
        (1.0, 255),
        (9.0, 255),
        (-1.01, -1),
    ],
)
def test_the_state_is_spelt_in_256_steps(value, number):
    ids = state_prompt_ids(ByteTokenizer(), " fold_the\ntowel ", torch.tensor([value, 0.0]))
    text = bytes(one - ByteTokenizer.specials for one in ids[1:]).decode()
    assert ids[0] == ByteTokenizer.start
    assert text == f"Task: fold the towel, State: {number} 128;\nAction: "


def test_a_prompt_that_would_lose_the_state_is_refused():
    with pytest.raises(LayoutError, match="would lose the end of the state: shorten"):
        state_prompt_ids(ByteTokenizer(), "a" * 150, torch.zeros(16))


def test_the_state_is_read_through_the_prompt_alone():
    model, inputs = tiny(), observations()
    other = Inputs(state=inputs.state + 0.5, images=inputs.images)
    inside = Inputs(state=inputs.state.clamp(-0.99, 0.99), images=inputs.images)
    same = Inputs(state=(inside.state * 128).floor() / 128 + 1e-4, images=inputs.images)
    t = torch.tensor([0.3, 0.8])
    with torch.no_grad():
        velocity = model(noise(), t, inside)
        assert torch.equal(model(noise(), t, same), velocity)
        assert not torch.allclose(model(noise(), t, other), velocity, atol=1e-4)


def test_a_chunk_is_never_replayed_from_a_recording_that_holds_an_older_state():
    assert Pi0.graphable and not Pi05.graphable


def test_a_chunk_is_integrated_with_euler_steps():
    model, inputs = tiny(), observations()
    x, steps = noise(), model.config.steps
    with torch.no_grad():
        for step in range(steps):
            t = torch.full((2,), 1.0 - step / steps)
            x = x - model(x, t, inputs) / steps
    torch.testing.assert_close(model.sample(inputs, noise()), x, atol=2e-6, rtol=1e-5)


def test_an_observation_does_not_depend_on_its_neighbours():
    model, inputs = tiny(), observations()  # prompts of different length
    alone = Inputs(state=inputs.state[:1], images=inputs.images[:1])
    with torch.no_grad():
        both = model.sample(inputs, noise())
        torch.testing.assert_close(model.sample(alone, noise()[:1]), both[:1], atol=1e-5, rtol=0)
        prefix = model.encode(inputs)
        twice = model(noise().repeat_interleave(2, 0), torch.full((4,), 0.5), inputs)
        once = predict_adaptive(model.network, prefix, noise(), torch.full((2,), 0.5))
    torch.testing.assert_close(twice[::2], once, atol=1e-6, rtol=0)


def test_rows_that_are_given_have_a_time_of_their_own():
    model, inputs, t = tiny(max_delay=3), observations(), torch.tensor([0.3, 0.8])
    told = [
        dataclasses.replace(inputs, prefix=torch.tensor(known))
        for known in ([0, 0], [2, 0], [6, 6])
    ]
    with torch.no_grad():
        plain = model(noise(), t, inputs)
        none, some, every = (model(noise(), t, one) for one in told)
        still = model(noise(), torch.zeros(2), inputs)
    torch.testing.assert_close(none, plain, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(some[1], plain[1], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(some[0], plain[0], atol=1e-4)
    torch.testing.assert_close(every, still, atol=1e-6, rtol=1e-5)


def test_a_chunk_goes_on_exactly_with_the_rows_it_is_given():
    model, inputs = tiny(max_delay=3), observations()
    rows = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(5))
    old = Inpainting(rows=rows, weights=torch.zeros(6, 32), prefix=2)
    chunk = model.sample(inputs, noise(), old)
    assert torch.equal(chunk[:, :2], rows[:, :2])
    assert not torch.allclose(chunk[:, 2:], model.sample(inputs, noise())[:, 2:], atol=1e-4)


@pytest.mark.parametrize("train", ["all", "expert", "lora"])
def test_whatever_learns_has_a_gradient_and_recomputing_changes_nothing(train):
    gradients = []
    for checkpointing in (False, True):
        model = tiny(train=train, gradient_checkpointing=checkpointing).train()
        torch.manual_seed(3)
        model(noise(), torch.tensor([0.3, 0.8]), observations()).square().mean().backward()
        learns = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        assert all(grad is not None for grad in learns.values())
        gradients.append(learns)
    assert any(".dense." in name for name in gradients[0]) == (train != "lora")
    for name, grad in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("naming", ["openpi", "lerobot"])
def test_files_of_both_namings_load_with_nothing_missing_or_left_over(naming):
    model = tiny()
    theirs = file_of(model, naming)
    start = "" if naming == "openpi" else "model."
    assert f"{start}time_mlp_in.weight" in theirs
    layer = "paligemma_with_expert.gemma_expert.model.layers.1.input_layernorm.dense.bias"
    assert f"{start}{layer}" in theirs
    loaded = import_weights(theirs, model.config)
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())
    with pytest.raises(CheckpointError, match=r"weights of pi0\.5, not of pi0"):
        import_weights(theirs, Pi0Config(**SIZES))


def check_folder_for_lerobot(checkpoint, folder, theirs):
    """Weights by their names, and quantiles that mean what ours do."""
    assert export_pi0(ExportPi0Config(checkpoint=checkpoint, output=folder)) == 0
    exported = load_file(folder / "model.safetensors")
    assert all(torch.equal(exported[name], value) for name, value in theirs.items())
    told = json.loads((folder / "config.json").read_text())
    assert (told["type"], told["tokenizer_max_length"]) == ("pi05", 200)
    assert told["normalization_mapping"]["STATE"] == "QUANTILES"
    steps = json.loads((folder / "policy_preprocessor.json").read_text())["steps"]
    names = [step["registry_name"] for step in steps]
    spelled = names.index("pi05_prepare_state_tokenizer_processor_step")
    assert names.index("normalizer_processor") < spelled < names.index("tokenizer_processor")
    held = load_file(folder / steps[names.index("normalizer_processor")]["state_file"])
    torch.testing.assert_close(held["action.q01"], torch.full((16,), -2.0))
    torch.testing.assert_close(held["observation.state.q99"], torch.full((16,), 4.0))


def test_import_pi0_tells_a_pi05_by_its_weights(tmp_path, cell):
    model = tiny()
    (tmp_path / "theirs").mkdir()
    save_file(file_of(model, "lerobot"), tmp_path / "theirs" / "model.safetensors")
    statistics = tmp_path / "norm_stats.json"
    table = {"mean": [9.0] * 32, "std": [9.0] * 32, "q01": [-2.0] * 32, "q99": [4.0] * 32}
    statistics.write_text(json.dumps({"norm_stats": {"state": table, "actions": table}}))
    config = ImportPi0Config(
        source=tmp_path / "theirs",
        output=tmp_path / "ours",
        language=False,
        preset="tiny",
        horizon=6,
        statistics=statistics,
    )
    with pytest.raises(UsageError, match=r"norm_stats\.json does not say of which actions it is"):
        import_pi0(config)
    config = dataclasses.replace(config, actions="absolute")
    assert import_pi0(config) == 0
    policy = load_policy(tmp_path / "ours")
    assert isinstance(policy.config, Pi05Config)
    state = policy._transform.state
    torch.testing.assert_close(state.apply(torch.full((16,), -2.0)), -torch.ones(16))
    torch.testing.assert_close(state.apply(torch.full((16,), 4.0)), torch.ones(16))
    inputs = observations()
    assert torch.equal(policy._model.sample(inputs, noise()), model.sample(inputs, noise()))
    check_folder_for_lerobot(config.output, tmp_path / "back", file_of(model, "lerobot"))
    with pytest.raises(CheckpointError, match="tokenizer"):  # it spells the state in any case
        import_pi0(dataclasses.replace(config, output=tmp_path / "full", preset="full"))
    table.pop("q01")
    statistics.write_text(json.dumps({"norm_stats": {"state": table, "actions": table}}))
    with pytest.raises(CheckpointError, match="mean and std, q01 and q99"):
        read_norm_stats(statistics, cell, quantiles=True)


def test_an_idle_joint_is_written_for_openpi_as_wide_as_the_network_saw_it(tmp_path, cell):
    still = VectorStatistics(mean=(0.5,) * 16, std=(0.1,) * 16, q01=(0.499,) * 16, q99=(0.5,) * 16)
    ours = quantile_statistics(Statistics(state=still, action=still))
    model = tiny(horizon=6)
    write_lerobot_folder(tmp_path / "out", {}, model.config, ours, cell.layout)
    file = tmp_path / "out" / "norm_stats.json"
    ends = json.loads(file.read_text())["norm_stats"]["state"]
    # openpi: 2 (x - q01) / (q99 - q01 + 1e-6) - 1
    seen = 2.0 * (0.502 - ends["q01"][0]) / (ends["q99"][0] - ends["q01"][0] + 1e-6) - 1.0
    assert seen == pytest.approx((0.502 - ours.state.mean[0]) / ours.state.std[0], abs=1e-3)
    back = read_norm_stats(file, cell, quantiles=True)
    assert back.state.std == pytest.approx(ours.state.std, abs=2e-6)
    assert back.state.mean == pytest.approx(ours.state.mean)


def test_quantiles_become_minus_one_and_one_and_a_still_joint_is_not_blown_up():
    wide = VectorStatistics(mean=(5.0, 0.0), std=(1.0, 1.0), q01=(-3.0, 0.1), q99=(1.0, 0.1002))
    made = quantile_statistics(Statistics(state=wide, action=wide, relative=(0,)))
    ends = Normalise(made.action).apply(torch.tensor([[-3.0, 0.1], [1.0, 0.1002]]))
    torch.testing.assert_close(ends[:, 0], torch.tensor([-1.0, 1.0]))
    assert made.relative == (0,) and made.action.std[1] == STD_FLOOR
    assert ends[:, 1].abs().max() < 0.02
