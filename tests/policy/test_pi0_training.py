import json

import pytest
import torch

from ate_policy.checkpoint import save_checkpoint
from ate_policy.models.interface import Inputs
from ate_policy.models.pi0 import Pi0, Pi0Config
from ate_policy.models.pi0_entry import PRESETS
from ate_policy.noise import mix, target_of
from ate_policy.policy import checkpoint_of, load_policy
from ate_policy.untrained import untrained_policy

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
IDLE = ("self_attn.q_proj", "self_attn.o_proj", "mlp.", "post_attention_layernorm")
"""Of the VLM's last layer; only its keys and values are read."""


def tiny(**fields):
    torch.manual_seed(0)
    return Pi0(Pi0Config(**{**PRESETS["tiny"].sizes, "horizon": 6, **fields}))


def batch_of(model, size=4):
    generator = torch.Generator().manual_seed(0)
    config = model.config
    images = torch.rand(size, len(config.cameras), 3, 28, 28, generator=generator) - 0.5
    inputs = Inputs(
        state=torch.randn(size, 16, generator=generator),
        environment=torch.randn(size, 6 * config.objects, generator=generator),
        images=images if config.cameras else None,
        instructions=("a", "bc", "d", "ef")[:size] if config.language else (),
    )
    return inputs, torch.randn(size, config.horizon, 16, generator=generator)


def loss_of(model, inputs, actions, generator):
    a = model.embed(actions)
    level = model.process.draw_levels(len(a), generator)
    noised = mix(model.process, a, level, torch.randn(a.shape, generator=generator))
    out = model(noised.noisy, noised.level, inputs)
    target = target_of(model.process.prediction, noised)
    return (model.extract(out) - model.extract(target)).square().mean()


def changed_by_a_step(model):
    """Names of the parameters that a step of SGD moves."""
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.0)
    for _ in range(2):  # the A of an adapter moves once its B has left zero
        optimizer.zero_grad()
        loss_of(model.train(), *batch_of(model), torch.Generator().manual_seed(1)).backward()
        assert all(p.grad is not None for p in trained)
        optimizer.step()
    return {name for name, value in model.named_parameters() if not value.equal(before[name])}


def names_of(model):
    return {name.removeprefix("network.") for name, _ in model.named_parameters()}


def idle(name):
    last = "model.vlm.language_model.layers.1."
    return name == "model.vlm.language_model.norm.weight" or (
        name.startswith(last) and name.removeprefix(last).startswith(IDLE)
    )


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_full_training_moves_everything_that_matters(gradient_checkpointing):
    model = tiny(cameras=CAMERAS, language=True, gradient_checkpointing=gradient_checkpointing)
    wanted = {name for name in names_of(model) if not idle(name)}
    assert {name.removeprefix("network.") for name in changed_by_a_step(model)} == wanted


def test_expert_training_moves_the_expert_and_its_projections():
    model = tiny(cameras=CAMERAS, train="expert")
    expert = ("model.dit.", "embed_action_time.", "action_out_proj.")
    wanted = {name for name in names_of(model) if name.startswith(expert)}
    assert {name.removeprefix("network.") for name in changed_by_a_step(model)} == wanted


def test_lora_moves_adapters_projections_and_vision():
    model = tiny(cameras=CAMERAS, train="lora", lora_rank=2)
    free = (
        "embed_action_time.",
        "action_out_proj.",
        "model.vlm.vision_tower.",
        "model.vlm.multi_modal_projector.",
    )
    wanted = {name for name in names_of(model) if name.startswith(free) or "lora_" in name}
    assert len([name for name in wanted if "lora_A" in name]) == 7 + 2 + 2 * 7
    assert {name.removeprefix("network.") for name in changed_by_a_step(model)} == wanted


def test_frozen_vision_stays():
    moved = changed_by_a_step(tiny(cameras=CAMERAS, freeze_vision=True))
    assert not [name for name in moved if "vision_tower" in name]
    assert [name for name in moved if "multi_modal_projector" in name]


def test_without_cameras_nothing_of_vision_is_trained():
    moved = changed_by_a_step(tiny(objects=2))
    assert moved and not [name for name in moved if "vision" in name or "projector" in name]


def test_checkpointing_changes_no_gradient():
    gradients = []
    for gradient_checkpointing in (False, True):
        model = tiny(cameras=CAMERAS, language=True, gradient_checkpointing=gradient_checkpointing)
        loss_of(model.train(), *batch_of(model), torch.Generator().manual_seed(1)).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(*gradients)


def test_layers_that_are_sharded_one_by_one_give_the_same_loss(tmp_path):
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model, whole = tiny(objects=2).train(), tiny(objects=2).train()
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        mesh = init_device_mesh("cpu", (1,))
        inner = model.network.model
        for layer in (*inner.vlm.language_model.layers, *inner.dit.layers):
            fully_shard(layer, mesh=mesh)
        loss = loss_of(model, *batch_of(model), torch.Generator().manual_seed(1))
        loss.backward()
    finally:
        distributed.destroy_process_group()
    exact = loss_of(whole, *batch_of(whole), torch.Generator().manual_seed(1))
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)


def test_bf16_autocast_stays_near_fp32():
    model = tiny(cameras=CAMERAS, language=True, gradient_checkpointing=True).train()
    inputs, actions = batch_of(model)
    noise = torch.randn(4, 6, 32, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", torch.bfloat16):
        rough = loss_of(model, inputs, actions, torch.Generator().manual_seed(1))
        rough.backward()
        chunk = model.sample(inputs, noise)
    exact = loss_of(model, inputs, actions, torch.Generator().manual_seed(1))
    assert rough.item() == pytest.approx(exact.item(), rel=0.02)
    assert chunk.dtype == torch.float32
    assert float((chunk - model.sample(inputs, noise)).abs().max()) < 0.1


def test_sampling_follows_the_weights():
    model = tiny(objects=2).eval()
    inputs, _ = batch_of(model, size=1)
    noise = torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(1))
    before = model.sample(inputs, noise)
    assert torch.equal(model.sample(inputs, noise), before)
    with torch.no_grad():
        model.network.model.dit.layers[0].mlp.gate_proj.weight += 0.1
    assert not torch.equal(model.sample(inputs, noise), before)


def test_adapters_are_merged_when_stored(cell, tmp_path):
    model = tiny(objects=2, train="lora", lora_rank=2, lora_alpha=6.0)
    changed_by_a_step(model)
    inputs, _ = batch_of(model, size=2)
    noise = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(1))
    folder = save(model, cell, tmp_path / "checkpoint")
    stored = json.loads((folder / "config.json").read_text())["model"]
    assert stored["train"] == "all"
    plain = load_policy(folder)._model
    assert not [name for name in plain.state_dict() if "lora" in name or "base_layer" in name]
    torch.testing.assert_close(
        plain.sample(inputs, noise), model.eval().sample(inputs, noise), atol=1e-5, rtol=1e-5
    )


def test_training_with_adapters_starts_from_plain_weights():
    plain, adapted = tiny(objects=2), tiny(objects=2, train="lora")
    with torch.no_grad():
        for parameter in adapted.parameters():
            parameter += 1.0  # A and B too: they are not in the plain weights
    before = {n: v.clone() for n, v in adapted.state_dict().items() if "lora_" in n}
    adapted.load_state_dict(plain.state_dict())
    after = adapted.state_dict()
    for name, value in plain.state_dict().items():
        twin = name if name in after else name.replace(".weight", ".base_layer.weight")
        assert torch.equal(after[twin], value)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_checkpoint_gives_the_same_actions(cell, tmp_path):
    model = tiny(objects=2)
    inputs, _ = batch_of(model, size=2)
    noise = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(1))
    loaded = load_policy(save(model, cell, tmp_path / "checkpoint"))._model
    assert torch.equal(loaded.sample(inputs, noise), model.eval().sample(inputs, noise))


def save(model, cell, folder):
    """Store a policy whose statistics do not matter."""
    checkpoint = checkpoint_of(
        "pi0",
        model.config,
        weights=model.state_dict(),
        statistics=untrained_policy(cell, objects=model.config.objects).statistics,
        contract=cell.canonical_text(),
        training={"steps": 0},
    )
    save_checkpoint(folder, checkpoint)
    return folder
