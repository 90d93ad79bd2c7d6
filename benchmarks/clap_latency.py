"""CLAP's token policy and its flow head side by side: time from an observation to a chunk.

    python -m benchmarks.clap_latency
    python -m benchmarks.clap_latency --rounds 3 --preset tiny      # only to try the program

Both read the same observation with trunks of one size, weights as drawn: the latency of networks
does not depend on what they learned. The token policy goes on: its codes are decoded to motion of
both tools, and the joints of the packaged cell follow it by inverse kinematics, from home and as
far as drawn codes lead. In turns.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from torch import Tensor

from ate_core.contract import Cell, load_cell
from ate_core.errors import UsageError
from ate_policy.checkpoint import Checkpoint
from ate_policy.code_decoder import CodeDecoder
from ate_policy.models.action_tokens import ACTION_TOKENS, ActionTokens, ActionTokensConfig
from ate_policy.models.clap_ntp import ClapNtp, ClapNtpConfig
from ate_policy.models.clap_rf import PRESETS, ClapRf, ClapRfConfig
from ate_policy.models.interface import Inputs
from ate_policy.token_folder import StoredTokens, TokenIdentity
from ate_policy.tool_space import tool_layout
from ate_policy.transforms import Statistics
from benchmarks.restless_policy import around

ARMS, TOOL_NUMBERS, OBJECTS = 2, 7, 2
"""Arms of the packaged cell; position, rotation and gripper of a tool; poses of a state policy."""
CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
TRUNK = ("trunk_width", "trunk_depth", "trunk_heads", "longest_text")
"""Fields of a preset that size the trunk."""
SPREAD = 0.05
"""Of the tools' motion in a chunk [m, rad]."""
WARM_UP = 3
"""Rounds that do not count."""


@dataclass(frozen=True, kw_only=True)
class LatencyConfig:
    """What is timed."""

    preset: Literal["tiny", "small", "full"] = "small"
    """Size of the trunk and of the flow head."""
    variant: Literal["state", "vision"] = "vision"
    """Whether they read object poses or three cameras."""
    codes: int = 8
    """Codes per arm and chunk."""
    codebook: int = 256
    """Codes to choose from."""
    flow_steps: int = 4
    """Euler steps of the flow head."""
    rounds: int = 30
    """Chunks of each that are timed."""
    device: str = "cpu"
    """Where the networks run."""

    def __post_init__(self) -> None:
        """Refuse what cannot be timed."""
        if self.rounds < 1:
            raise UsageError(f"rounds is {self.rounds}, must be at least 1")


def main(config: LatencyConfig) -> int:
    """Time both in turns and print their medians."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    times = measure(makers(config), config.rounds, config.device)
    print(
        f"{config.preset}, {config.variant}, {config.device}, one thread, {config.rounds} rounds"
    )
    for name, seconds in times.items():
        low, middle, high = 1e3 * np.percentile(seconds, [5, 50, 95])
        print(f"  {name:34} {middle:7.2f} ms  ({low:.2f} to {high:.2f}, 5 to 95 %)")
    return 0


def makers(config: LatencyConfig) -> dict[str, Callable[[], Tensor]]:
    """What makes a chunk, by name."""
    sizes, seen = dict(PRESETS[config.preset].sizes), config.variant == "vision"
    reads = {"cameras": CAMERAS} if seen else {"objects": OBJECTS}
    trunk = {name: sizes[name] for name in TRUNK if name in sizes}
    device = torch.device(config.device)
    length = ARMS * config.codes
    ntp = ClapNtp(ClapNtpConfig(**trunk, **reads, codes=length, codebook=config.codebook))
    rf = ClapRf(ClapRfConfig(**{**sizes, **reads, "steps": config.flow_steps}))
    tokens = ActionTokens(
        ActionTokensConfig(
            horizon=rf.config.horizon,
            action_size=TOOL_NUMBERS,
            codes=config.codes,
            codebook=config.codebook,
        )
    ).freeze()
    for model in (ntp, rf, tokens):
        model.to(device).eval().requires_grad_(False)
    inputs, cell = _observation(rf.config, device), load_cell(hardware="sim")
    decoder = _decoder(deepcopy(tokens).cpu(), cell)
    home = np.concatenate([[*arm.home, 1.0] for arm in cell.arms.values()])
    noise = torch.randn(1, rf.config.horizon, rf.config.action_size, device=device)
    return {
        f"flow head, {config.flow_steps} Euler steps": lambda: rf.sample(inputs, noise),
        f"token policy, {length} codes": lambda: ntp.chunk(inputs),
        "token policy, codes decoded": lambda: tokens.decode(
            ntp.chunk(inputs).view(ARMS, config.codes)
        ),
        "token policy, joints of both arms": lambda: torch.from_numpy(
            decoder.actions(ntp.chunk(inputs)[0], home)
        ),
    }


def _decoder(tokens: ActionTokens, cell: Cell) -> CodeDecoder:
    """What brings codes of drawn tokens to the joints of a cell."""
    layout = tool_layout(tuple(cell.arms)).names
    numbers = around([0.0] * len(layout), SPREAD)
    identity = TokenIdentity(
        space="tool",
        horizon=tokens.config.horizon,
        tick_rate=cell.tick_rate,
        layout=layout,
        sha256="",
    )
    checkpoint = Checkpoint(
        kind=ACTION_TOKENS,
        weights={},
        model=dataclasses.asdict(tokens.config),
        contract=cell.canonical_text(),
        statistics=Statistics(state=numbers, action=numbers),
        training={},
    )
    stored = StoredTokens(model=tokens, folder=Path(), checkpoint=checkpoint, identity=identity)
    return CodeDecoder(stored, cell)


def measure(
    makers: Mapping[str, Callable[[], Tensor]], rounds: int, device: str
) -> dict[str, list[float]]:
    """Durations of each [s]: one of each per round, so that other load meets all alike."""
    times: dict[str, list[float]] = {name: [] for name in makers}
    with torch.inference_mode():
        for turn in range(WARM_UP + rounds):
            for name, make in makers.items():
                begin = time.perf_counter()
                make()
                if device.startswith("cuda"):
                    torch.cuda.synchronize()
                if turn >= WARM_UP:
                    times[name].append(time.perf_counter() - begin)
    return times


def _observation(config: ClapRfConfig, device: torch.device) -> Inputs:
    size = (1, len(config.cameras), 3, config.image_height, config.image_width)
    return Inputs(
        state=torch.randn(1, config.state_size, device=device),
        environment=torch.randn(1, 6 * config.objects, device=device) if config.objects else None,
        images=torch.rand(size, device=device) - 0.5 if config.cameras else None,
    )


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(LatencyConfig)))
