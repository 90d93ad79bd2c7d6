"""Builds transformers' PI0 for a configuration, and says which of its parameters learn."""

from collections.abc import Mapping

from torch import Tensor, nn
from transformers import PI0Config, PI0ForConditionalGeneration

from ate_policy.models.pi0_config import Pi0Config

EXPERT = ("model.dit.", "embed_action_time.", "action_out_proj.")
"""Action expert and its projections."""

PROJECTIONS = EXPERT[1:]
VISION = "model.vlm.vision_tower."
PROJECTOR = "model.vlm.multi_modal_projector."

LINEARS = (
    *(f"self_attn.{part}_proj" for part in "qkvo"),
    *(f"mlp.{part}_proj" for part in ("gate", "up", "down")),
)
"""Linear maps of a Gemma layer."""


def build_network(config: Pi0Config) -> PI0ForConditionalGeneration:
    """The network with fresh weights; what is not to be trained is frozen.

    The expert's token embedding (263 M of the 3 501 M published parameters) is never read and
    does not exist here.
    """
    sizes = network_config(config)
    sizes.dit_config.vocab_size = 1
    network = PI0ForConditionalGeneration(sizes)
    network.model.dit.embed_tokens = None
    if config.train == "lora":
        _add_adapters(network, config)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(_learns(name, config))
    if config.checkpointing:
        network.model.vlm.vision_tower.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False}
        )
    return network


def network_config(config: Pi0Config) -> PI0Config:
    """Our sizes in transformers' words."""
    shared = {
        "model_type": "gemma",
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_heads,
        "head_dim": config.head_width,
    }
    text = {
        **shared,
        "hidden_size": config.text_width,
        "intermediate_size": config.text_feedforward,
        "vocab_size": config.vocabulary,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": config.vision_width,
        "intermediate_size": config.vision_feedforward,
        "num_hidden_layers": config.vision_layers,
        "num_attention_heads": config.vision_heads,
        "patch_size": config.patch,
        "image_size": config.image_height,
        "projection_dim": config.text_width,
        "vision_use_head": False,
    }
    expert = {
        **shared,
        "hidden_size": config.expert_width,
        "intermediate_size": config.expert_feedforward,
    }
    return PI0Config(
        vlm_config={
            "model_type": "paligemma",
            "text_config": text,
            "vision_config": vision,
            "projection_dim": config.text_width,
            "image_token_id": config.vocabulary,
        },
        dit_config=expert,
        chunk_size=config.horizon,
        max_state_dim=config.max_state_size,
        max_action_dim=config.max_action_size,
        num_inference_steps=config.steps,
    )


def merge_adapters(weights: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Weights with adapters -> plain weights, W + scale B A (Hu et al. 2021).

    Args:
        weights: By name, of a Pi0 that trains adapters; others pass through.
        scale: alpha / rank.
    """
    merged = {}
    for name, value in weights.items():
        if ".lora_" in name:
            continue
        if ".base_layer." in name:
            stem = name.removesuffix("base_layer.weight")
            first = weights[f"{stem}lora_A.default.weight"].float()
            second = weights[f"{stem}lora_B.default.weight"].float()
            value = (value.float() + scale * second @ first).to(value.dtype)
        merged[name.replace(".base_layer.", ".")] = value
    return merged


def split_adapters(module: nn.Module, weights: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Let a Pi0 with adapters load plain weights; its adapters then stay as they are."""
    if any(".lora_" in name for name in weights):
        return
    for name, own in module.state_dict(prefix=prefix).items():
        plain = name.replace(".base_layer.", ".")
        if ".lora_" in name:
            weights[name] = own
        elif plain != name and plain in weights:
            weights[name] = weights.pop(plain)


def _learns(name: str, config: Pi0Config) -> bool:
    if _idle(name, config) or (config.freeze_vision and name.startswith(VISION)):
        return False
    if config.train == "expert":
        return name.startswith(EXPERT)
    if config.train == "lora":
        return ".lora_" in name or name.startswith((*PROJECTIONS, VISION, PROJECTOR))
    return True


def _idle(name: str, config: Pi0Config) -> bool:
    """Whether nothing depends on a parameter, so that it never has a gradient."""
    text = "model.vlm.language_model."
    last = f"{text}layers.{config.layers - 1}."
    if name.startswith(last):
        return not name.startswith(
            (f"{last}input_layernorm", f"{last}self_attn.k_proj", f"{last}self_attn.v_proj")
        )
    if name.startswith((VISION, PROJECTOR)):
        return not config.cameras
    return name.startswith(f"{text}norm")


def _add_adapters(network: PI0ForConditionalGeneration, config: Pi0Config) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    names = [
        f"{part}.layers.{index}.{linear}"
        for part in ("model.vlm.language_model", "model.dit")
        for index in range(config.layers)
        for linear in LINEARS
    ]
    used = [name for name in names if not _idle(name, config)]
    inject_adapter_in_model(
        LoraConfig(r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules=used), network
    )
