"""A faster loop over the same weights: what does not change between denoise steps is done once.

transformers' sampler concatenates and crops the whole key-value cache in every layer of every
step, and computes masks, rotary tables, the state token and the time embedding anew. Here

- the keys and values of prefix and state stand still, in front of room for the actions' own;
- q, k and v are one linear map, gate and up another, with the norms' weights folded in;
- the action embedding and the first linear map of the time MLP are one; its time term is one row
  of a table, since action_time_mlp_in [A x + c ; e(t)] = W_a A x + (W_a c + W_t e(t) + b);
- the chunk is integrated in fp32 whatever the network computes in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.gemma.modeling_gemma import GemmaDecoderLayer
from transformers.models.pi0.modeling_pi0 import PI0ForConditionalGeneration

from ate_policy.models.inpainting import Inpainting, clean_rows, guided_estimate
from ate_policy.models.pi0_adapters import effective_weight
from ate_policy.models.pi0_layers import Prefix, suffix_mask


@dataclass(frozen=True, kw_only=True)
class FoldedLayer:
    """Linear maps of one layer of the expert; W is its width, F that of the feed-forward part."""

    attend: Tensor
    """Queries, keys and values, ((heads + 2 key heads) * head width, W)."""
    leave: Tensor
    """Attention output, (W, heads * head width)."""
    gate_up: Tensor
    """(2 F, W)."""
    down: Tensor
    """(W, F)."""


class FoldedExpert:
    """The action expert of a network, ready to denoise; holds a copy of the expert's weights."""

    @torch.no_grad()
    def __init__(self, network: PI0ForConditionalGeneration, steps: int) -> None:
        """Fold the weights.

        Args:
            network: Of transformers, with or without adapters.
            steps: Euler steps from t = 1 to t = 0.
        """
        expert, embed = network.model.dit, network.embed_action_time
        self._network = network
        self._sources = _versions(network)
        self._steps = steps
        self._heads = expert.config.num_attention_heads
        self._key_heads = expert.config.num_key_value_heads
        self._eps = expert.norm.eps
        with torch.autocast(embed.state_proj.weight.device.type, enabled=False):
            self._fold(expert, embed)

    def _fold(self, expert: Any, embed: Any) -> None:
        """Fold the expert and the embedding of transformers' network."""
        self._layers = [_fold_layer(layer) for layer in expert.layers]
        width = expert.config.hidden_size
        mix_actions = embed.action_time_mlp_in.weight[:, :width]
        # The fastest sine turns by 1e-4 in one fp32 rounding of t, so t is rounded only once.
        steps = self._steps
        t = torch.tensor([1.0 - step / steps for step in range(steps)], device=mix_actions.device)
        time = embed.sinusoid_embeds(t).to(mix_actions.dtype)  # (steps, W)
        self._enter = mix_actions @ embed.action_in_proj.weight
        self._enter_bias = embed.action_time_mlp_in(
            torch.cat([embed.action_in_proj.bias.expand_as(time), time], dim=1)
        )  # (steps, W)
        still = embed.sinusoid_embeds(torch.zeros(1, device=t.device)).to(mix_actions.dtype)
        self._clean_bias = embed.action_time_mlp_in(
            torch.cat([embed.action_in_proj.bias[None], still], dim=1)
        )  # (1, W), of rows that are given clean
        out = self._network.action_out_proj.weight
        self._out = out * _scale(expert.norm).to(out.dtype)

    def stale(self) -> bool:
        """Whether the network's weights have changed, or moved, since they were folded."""
        return self._sources != _versions(self._network)

    @torch.no_grad()
    def denoise(
        self, prefix: Prefix, state: Tensor, noise: Tensor, old: Inpainting | None = None
    ) -> Tensor:
        """Integrate u from t = 1 to t = 0.

        Args:
            prefix: Of B observations.
            state: (B, 32), padded.
            noise: (B, H, 32), standard normal.
            old: Rows that the chunk has to agree with.

        Returns:
            (B, H, 32) float32.
        """
        memory = _Memory(self._network, prefix, self._heads, noise.shape[1])
        first = self._network.embed_action_time.state_proj(state)[:, None]  # (B, 1, W)
        x, given = noise.float(), old.prefix if old else 0
        for step in range(self._steps):
            # the state token's keys and values stay in the memory
            def velocity(x: Tensor, step: int = step) -> Tensor:
                suffix = self._embed(x, step, given)
                suffix = suffix if step else torch.cat([first, suffix], dim=1)
                return self._velocity(suffix, memory)[:, -noise.shape[1] :]

            x = old.give(x) if old else x
            t = 1.0 - step / self._steps
            x = x - guided_velocity(velocity, x, t, old) / self._steps
        return old.give(x) if old else x

    def _embed(self, x: Tensor, step: int, prefix: int) -> Tensor:
        bias = self._enter_bias[step]
        if prefix:
            clean = clean_rows(prefix, x.shape[1], x.device)
            bias = torch.where(clean, self._clean_bias, bias)
            hidden = functional.linear(x.to(self._enter.dtype), self._enter) + bias
        else:
            hidden = functional.linear(x.to(self._enter.dtype), self._enter, bias)
        return self._network.embed_action_time.action_time_mlp_out(functional.silu(hidden))

    def _velocity(self, x: Tensor, memory: "_Memory") -> Tensor:
        width = x.shape[-1:]
        memory.begin(x.shape[1])
        for index, layer in enumerate(self._layers):
            y = functional.rms_norm(x, width, eps=self._eps)
            y = self._attend(functional.linear(y, layer.attend), memory, index)
            x = x + functional.linear(y, layer.leave)
            y = functional.rms_norm(x, width, eps=self._eps)
            gate, up = functional.linear(y, layer.gate_up).chunk(2, dim=-1)
            x = x + functional.linear(functional.gelu(gate, approximate="tanh") * up, layer.down)
        x = functional.rms_norm(x, width, eps=self._eps)
        return functional.linear(x, self._out, self._network.action_out_proj.bias).float()

    def _attend(self, mixed: Tensor, memory: "_Memory", layer: int) -> Tensor:
        """Queries, keys and values (B, T, .) -> attention output (B, T, heads * head width)."""
        batch, tokens, _ = mixed.shape
        groups = self._key_heads
        mixed = mixed.unflatten(-1, (self._heads + 2 * groups, -1))  # (B, T, heads, d)
        rotated = memory.rotate(mixed[:, :, :-groups])
        query, key = rotated.split([self._heads, groups], dim=2)
        keys, values = memory.write(layer, key, mixed[:, :, -groups:])  # (B, g, S, d)
        # Heads that share their keys are rows of one matrix product.
        query = query.unflatten(2, (groups, -1)).transpose(1, 2).flatten(2, 3)
        y = functional.scaled_dot_product_attention(query, keys, values, attn_mask=memory.mask)
        y = y.unflatten(2, (tokens, -1)).transpose(1, 2)  # (B, T, g, heads / g, d)
        return y.reshape(batch, tokens, -1)


def guided_velocity(
    velocity: Callable[[Tensor], Tensor], x: Tensor, t: float, old: Inpainting | None
) -> Tensor:
    """Velocity u = eps - a of a noisy chunk, with its clean estimate drawn towards old rows.

    Args:
        velocity: From x (B, H, M) to u, through the network.
        x: Noisy chunk.
        t: 1 noise .. 0 clean; above 0.
        old: What the chunk has to agree with; None: nothing.
    """
    if old is None or old.prefix:
        return velocity(x)
    n = x.new_full((len(x),), t)
    clean = guided_estimate(lambda noisy: noisy - t * velocity(noisy), x, 1.0 - n, n, old)
    return (x - clean) / t


class _Memory:
    """Keys and values of all layers, [prefix, state, actions], with everything about positions."""

    def __init__(
        self, network: PI0ForConditionalGeneration, prefix: Prefix, heads: int, horizon: int
    ) -> None:
        self._prefix_length = prefix.keys[0].shape[2]
        room = (0, 0, 0, 1 + horizon)
        self._keys = [functional.pad(key, room) for key in prefix.keys]
        self._values = [functional.pad(value, room) for value in prefix.values]
        tokens = torch.arange(1 + horizon, device=prefix.keys[0].device)
        positions = prefix.lengths()[:, None] + tokens
        cos, sin = network.model.dit.rotary_emb(prefix.keys[0], positions)
        self._cos = cos[:, :, None]  # (B, 1 + H, 1, d)
        self._half = sin.shape[-1] // 2
        sin = torch.cat([-sin[..., : self._half], sin[..., self._half :]], dim=-1)
        self._sin = sin[:, :, None]
        self._repeats = heads // prefix.keys[0].shape[1]
        self._full_mask = suffix_mask(prefix, 1 + horizon)
        self._padded = prefix.mask is not None
        self._tokens = 1 + horizon
        self.mask: Tensor | None = None

    def begin(self, tokens: int) -> None:
        """Get ready for the last `tokens` of the suffix: all of it, or the actions alone."""
        skipped = self._tokens - tokens
        self._rows = slice(skipped, None)
        self._place = slice(self._prefix_length + skipped, None)
        self.mask = None
        if self._padded or not skipped:
            mask = self._full_mask[:, self._rows]
            self.mask = mask.repeat_interleave(self._repeats, dim=1)[:, None]

    def rotate(self, x: Tensor) -> Tensor:
        """Rotary positions of queries and keys (B, T, heads, d)."""
        turned = x.roll(self._half, dims=-1) * self._sin[:, self._rows]
        return torch.addcmul(turned, x, self._cos[:, self._rows])

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put the suffix's own keys and values (B, T, g, d) in their place; all (B, g, S, d)."""
        if torch.is_grad_enabled():  # what an earlier step wrote is not looked at again
            self._keys[layer] = self._keys[layer].detach()
            self._values[layer] = self._values[layer].detach()
        keys, values = self._keys[layer], self._values[layer]
        keys[:, :, self._place] = key.transpose(1, 2)
        values[:, :, self._place] = value.transpose(1, 2)
        return keys, values


def _fold_layer(layer: GemmaDecoderLayer) -> FoldedLayer:
    attention, mlp = layer.self_attn, layer.mlp
    attend = torch.cat(
        [
            effective_weight(attention.q_proj),
            effective_weight(attention.k_proj),
            effective_weight(attention.v_proj),
        ]
    )
    gate_up = torch.cat([effective_weight(mlp.gate_proj), effective_weight(mlp.up_proj)])
    return FoldedLayer(
        attend=attend * _scale(layer.input_layernorm).to(attend.dtype),
        leave=effective_weight(attention.o_proj),
        gate_up=gate_up * _scale(layer.post_attention_layernorm).to(gate_up.dtype),
        down=effective_weight(mlp.down_proj),
    )


def _scale(norm: Any) -> Tensor:
    """Gemma's norms multiply by 1 + weight."""
    return 1.0 + norm.weight.float()


def _versions(network: PI0ForConditionalGeneration) -> list[tuple[int, int]]:
    """Changes whenever a parameter is written or replaced."""
    return [(p.data_ptr(), p._version) for p in network.parameters()]
