import dataclasses

import pytest
import torch

from ate_core.errors import CheckpointError, LayoutError
from ate_policy.models.interface import Inputs
from ate_policy.models.rdt import Rdt, RdtConfig
from ate_policy.models.rdt_blocks import Attention
from ate_policy.models.rdt_entry import PRESETS

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
SEEING = {"cameras": CAMERAS, "language": True, "image_height": 32, "image_width": 48}
OURS = [*range(50, 57), 60, *range(7), 10]


def build(**sizes):
    torch.manual_seed(0)
    model = Rdt(RdtConfig(horizon=6, **{**PRESETS["tiny"].sizes, **sizes})).eval()
    torch.nn.init.normal_(model.leave[-1].weight, std=0.1)  # as if trained
    return model


def observed(texts=("lift the bun", "open the left gripper")):
    generator = torch.Generator().manual_seed(0)
    return Inputs(
        state=torch.randn(2, 16, generator=generator),
        images=torch.rand(2, 3, 3, 32, 48, generator=generator) - 0.5,
        instructions=texts,
    )


def predict(model, inputs, noisy=None):
    noisy = torch.ones(2, 6, 128) if noisy is None else noisy
    with torch.no_grad():
        return model(noisy, torch.tensor([10, 700]), inputs)


def test_rdt_computes_what_the_published_code_computes():
    """Numbers of thu-ml/RoboticsDiffusionTransformer's RDT with the same weights and tokens."""
    sizes = {"width": 16, "depth": 2, "heads": 2, "encoders": "small", "longest_text": 4}
    cameras = {"cameras": ("a", "b"), "image_height": 16, "image_width": 16}
    model = Rdt(RdtConfig(horizon=3, language=True, **sizes, **cameras)).eval()
    for index, weight in enumerate(model.parameters()):
        wave = torch.arange(weight.numel(), dtype=torch.float32) * 0.7 + index
        weight.data = 0.3 * torch.sin(wave).view_as(weight)
    inputs = Inputs(
        state=torch.linspace(-1.0, 1.0, 32).view(2, 16),
        images=torch.linspace(-0.5, 0.5, 2 * 2 * 3 * 256).view(2, 2, 3, 16, 16),
        instructions=("go", "stop"),
    )
    noisy = torch.linspace(-1.0, 1.0, 2 * 3 * 128).view(2, 3, 128)
    with torch.no_grad():
        out = model.extract(model(noisy, torch.tensor([3, 900]), inputs))
    expected = [
        [[0.167177, 0.046882], [0.165691, 0.052438], [0.166683, 0.048939]],
        [[0.166355, 0.049465], [0.164715, 0.055751], [0.165970, 0.050945]],
    ]
    ends = out[:, :, [0, 15]]  # left joint 1 and right gripper
    torch.testing.assert_close(ends, torch.tensor(expected), rtol=0.0, atol=2e-6)


def test_actions_stand_in_their_entries_of_the_unified_vector():
    model = build()
    actions = torch.arange(1.0, 17.0).expand(2, 6, 16)
    chunk = model.embed(actions)
    assert chunk.shape == (2, 6, 128)
    torch.testing.assert_close(chunk[..., OURS], actions)
    assert chunk.abs().sum() == actions.sum()  # all else is zero
    torch.testing.assert_close(model.extract(chunk), actions)


def test_entries_the_robot_lacks_are_predicted_and_sampled_as_zero():
    model = build()
    inputs = dataclasses.replace(observed(), images=None)
    others = [i for i in range(128) if i not in OURS]
    out = predict(model, inputs)
    assert out[..., OURS].abs().min() > 0.0
    assert out[..., others].abs().max() == 0.0
    with torch.no_grad():
        chunk = model.sample(inputs, torch.randn(2, 6, 128))
    assert chunk[..., others].abs().max() == 0.0


def test_state_and_objects_reach_the_prediction():
    model = build(objects=2)
    state = torch.zeros(2, 16, requires_grad=True)
    environment = torch.zeros(2, 12, requires_grad=True)
    inputs = Inputs(state=state, environment=environment)
    model(torch.ones(2, 6, 128), torch.tensor([10, 700]), inputs).sum().backward()
    assert state.grad.abs().amin() > 0.0
    assert environment.grad.abs().amin() > 0.0


def test_instruction_and_every_camera_reach_the_prediction():
    model, inputs = build(**SEEING), observed()
    before = predict(model, inputs)
    told = dataclasses.replace(inputs, instructions=("lift the bar", "open the left gripper"))
    changed = (predict(model, told) - before).abs().amax((1, 2))
    assert changed[0] > 1e-5 and changed[1] == 0.0
    for camera in range(3):
        images = inputs.images.clone()
        images[:, camera] *= -1.0
        seen = predict(model, dataclasses.replace(inputs, images=images))
        assert not torch.allclose(seen, before, atol=1e-6)


def test_the_padding_of_a_short_instruction_changes_nothing():
    model = build(**SEEING)
    short = predict(model, observed(("go", "go")))
    padded = predict(model, observed(("go", "a much longer instruction")))
    torch.testing.assert_close(padded[0], short[0])


def test_keys_and_values_computed_once_change_no_sample():
    """One step at the noisiest level gives the prediction itself."""
    model, inputs = build(steps=1, **SEEING), observed()
    noise = torch.randn(2, 6, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        predicted = model(noise, torch.tensor([999, 999]), inputs)
        torch.testing.assert_close(model.sample(inputs, noise), predicted, rtol=1e-4, atol=1e-4)


def test_the_control_frequency_reaches_the_prediction():
    model, inputs = build(), Inputs(state=torch.zeros(2, 16))
    before = predict(model, inputs)
    object.__setattr__(model.config, "control_frequency", 50)
    assert not torch.allclose(predict(model, inputs), before, atol=1e-6)


def test_attention_normalises_queries_and_keys():
    """Scaling what is attended to scales the values but not the weights."""
    torch.manual_seed(0)
    attention = Attention(16, 2)
    for layer in (attention.query, attention.key_value, attention.leave):
        torch.nn.init.zeros_(layer.bias)
    x, source = torch.randn(1, 2, 16), torch.randn(1, 3, 16)
    with torch.no_grad():
        expected = 5.0 * attention(x, attention.pair(source))
        scaled = attention(x, attention.pair(5.0 * source))
    torch.testing.assert_close(scaled, expected, rtol=1e-3, atol=1e-4)


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for saving in (False, True):
        model = build(gradient_checkpointing=saving, **SEEING)
        model(torch.ones(2, 6, 128), torch.tensor([1, 2]), observed()).square().sum().backward()
        gradients.append(model.blocks[0].mlp[0].weight.grad)
    torch.testing.assert_close(*gradients)


def test_the_published_size_is_built_from_the_published_parts():
    """RDT-1B has 1.2 B weights; W = 2048, 28 blocks, 64 actions, 1024 text tokens."""
    config = RdtConfig(cameras=CAMERAS, horizon=64, **PRESETS["full"].sizes)
    with torch.device("meta"):
        model = Rdt(config)

    def linear(before, after):
        return before * after + after

    width, patches = 2048, 27 * 27
    square = linear(width, width)
    block = 10 * square + 3 * width + 4 * (width // 32)  # 2 attentions, MLP, norms
    embedders = 2 * (linear(256, width) + square)
    adaptors = linear(4096, width) + linear(1152, width) + linear(256, width) + 4 * square
    leave = width + square + linear(width, 128)
    positions = (3 + 64 + 1024 + 3 * patches) * width
    count = sum(p.numel() for p in model.parameters())
    assert count == 28 * block + embedders + adaptors + leave + positions == 1_223_840_896
    earlier = 3 * patches * width  # the published policy also sees the image before
    assert (count + earlier) / 1e9 == pytest.approx(1.228, abs=0.001)


@pytest.mark.parametrize(
    ("language", "option", "name"),
    [
        (True, "text_encoder", "google/t5-v1_1-xxl"),
        (False, "image_encoder", "google/siglip-so400m-patch14-384"),
    ],
)
def test_a_missing_published_encoder_is_asked_for_with_its_licence(language, option, name):
    sizes = {**PRESETS["tiny"].sizes, "encoders": "published", "language": language}
    model = Rdt(RdtConfig(horizon=6, cameras=CAMERAS, **sizes))
    inputs = dataclasses.replace(observed(), images=torch.zeros(2, 3, 3, 28, 28))
    message = rf"{option} is ''.*{name} \(Apache-2.0\).*local-dir"
    with pytest.raises(CheckpointError, match=message):
        predict(model, inputs)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"action_size": 14}, "action_names has 16 names, the layout 14"),
        ({"width": 36, "heads": 2}, "must be a multiple of 4 heads, 8"),
        ({"encoders": "clip"}, "encoders is 'clip'"),
        ({"depth": 0}, "depth is 0"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused(sizes, message):
    with pytest.raises(CheckpointError, match=message):
        RdtConfig(**sizes)


def test_names_without_a_place_in_the_vector_are_refused():
    names = ("left_tail", *RdtConfig().action_names[1:])
    with pytest.raises(LayoutError, match="no place for 'left_tail'"):
        build(action_names=names)
