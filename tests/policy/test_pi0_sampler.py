import pytest
import torch

from ate_policy.models.interface import Inputs
from ate_policy.models.pi0 import Pi0, Pi0Config
from ate_policy.models.pi0_entry import PRESETS
from ate_policy.models.pi0_layers import encode_prefix
from ate_policy.models.pi0_sampler import FoldedExpert

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
PIXELS = torch.rand(2, 3, 3, 28, 28, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
STATE = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
NOISE = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(2))


def tiny(**fields):
    """A tiny pi0 with three cameras whose weights are large enough for every part to matter."""
    torch.manual_seed(0)
    sizes = {**PRESETS["tiny"].sizes, "horizon": 6, "cameras": CAMERAS, **fields}
    model = Pi0(Pi0Config(**sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model


def both(model, present, text):
    """Chunks of transformers' sampler and of ours.

    Args:
        model: With three cameras.
        present: Which cameras each of two observations has; the same number for both.
        text: Mask (2, T) of the prompt tokens.
    """
    tokens = 4 * int(present[0].sum())
    generator = torch.Generator().manual_seed(3)
    prompt = torch.randint(4, 260, text.shape, generator=generator)
    ids = torch.cat([torch.full((2, tokens), 260), prompt], dim=1)
    mask = torch.cat([torch.ones(2, tokens, dtype=torch.bool), text], dim=1)
    theirs = model.network.sample_actions(
        state=STATE,
        input_ids=ids,
        pixel_values=PIXELS,
        noise=NOISE,
        attention_mask=mask.long(),
        pixel_attention_mask=present,
        num_steps=model.config.steps,
    )
    with torch.no_grad():
        embeddings = model.network.model.embed_prefix(ids, PIXELS, present)
        prefix = encode_prefix(model.network, embeddings, None if mask.all() else mask)
    return theirs, FoldedExpert(model.network, model.config.steps).denoise(prefix, STATE, NOISE)


ALL = torch.ones(2, 3, dtype=torch.bool)
SOME = torch.tensor([[True, False, True], [True, True, False]])
FULL_TEXT = torch.ones(2, 5, dtype=torch.bool)
PADDED_TEXT = torch.tensor([[True] * 5 + [False] * 2, [True] * 7])


@pytest.mark.parametrize(
    ("present", "text", "fields"),
    [
        (ALL, FULL_TEXT, {}),
        (ALL, PADDED_TEXT, {}),
        (SOME, PADDED_TEXT, {}),
        (SOME, FULL_TEXT, {"key_heads": 2, "heads": 4}),
        (ALL, PADDED_TEXT, {"steps": 7, "expert_width": 48, "layers": 4}),
        (ALL, FULL_TEXT, {"train": "lora"}),
    ],
    ids=["plain", "padded text", "missing camera", "key heads", "other sizes", "adapters"],
)
def test_the_chunk_is_that_of_transformers(present, text, fields):
    theirs, ours = both(tiny(**fields), present, text)
    assert float((theirs - NOISE).abs().max()) > 0.5  # the network did something
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0.0)


def test_eighteen_layers_give_the_chunk_of_transformers():
    theirs, ours = both(tiny(layers=18), ALL, PADDED_TEXT)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0.0)


def test_a_bf16_network_is_integrated_in_fp32():
    model = tiny().to(torch.bfloat16)
    inputs = Inputs(state=STATE[:, :16], images=PIXELS / 2.0)
    chunk = model.sample(inputs, NOISE)
    exact = tiny().sample(inputs, NOISE)
    assert chunk.dtype == torch.float32
    assert float((chunk - exact).abs().max()) < 0.2
    assert not torch.equal(chunk, chunk.bfloat16().float())


def test_less_is_done_per_step_than_in_transformers():
    model = tiny(layers=4)
    prefix, state = model.encode(Inputs(state=STATE[:, :16], images=PIXELS / 2.0))
    text = torch.ones(2, 2, dtype=torch.long)
    words = {
        "state": state,
        "input_ids": torch.cat([torch.full((2, 12), 260), text], dim=1),
        "pixel_values": PIXELS,
        "attention_mask": torch.ones(2, 14, dtype=torch.long),
        "pixel_attention_mask": ALL,
        "noise": NOISE,
    }
    experts = {steps: FoldedExpert(model.network, steps) for steps in (1, 3)}

    def ours(steps):
        return calls(lambda: experts[steps].denoise(prefix, state, NOISE))

    def theirs(steps):
        return calls(lambda: model.network.sample_actions(**words, num_steps=steps))

    assert ours(3) - ours(1) < 0.6 * (theirs(3) - theirs(1))


def calls(function):
    """How many operators a call issues."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, operator, _types, arguments=(), keywords=None):
            self.total += 1
            return operator(*arguments, **(keywords or {}))

    with Count() as count, torch.no_grad():
        function()
    return count.total
