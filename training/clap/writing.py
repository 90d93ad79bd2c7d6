"""A run of `ate finetune` in which a token policy learns to write codes (CLAP, Eq. 5).

    L = - sum over codes of log p(code | codes before it, observation, instruction)

its mean over the batch. Observation and instruction are context, never targets.
"""

import dataclasses
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ate_core.contract import parse_cell_text
from ate_core.errors import UsageError
from ate_policy.code_decoder import sides_of
from ate_policy.models.clap_ntp import ClapNtpConfig, ClapNtpOptions
from ate_policy.models.interface import TokenModel
from ate_policy.token_folder import StoredTokens, travelling_tokens
from ate_policy.transforms import ChunkTransform, Statistics
from training.clap.chunk_codes import chunk_codes
from training.clap.watched_windows import WatchedWindows, read_windows
from training.clap.written_batches import CodeSampler, WristDropout
from training.configs.finetune import FinetuneConfig
from training.data.augmentation import make_augmentation
from training.data.dataset import Demonstrations
from training.data.micro_batch import MicroBatch
from training.loop.memory import memory_estimate
from training.loop.opened import Opened
from training.loop.optimisation import copy_weights, make_optimizer
from training.loop.policies import build_policy
from training.loop.processes import autocast, no_sync
from training.loop.run_folder import RunFolder
from training.objectives.knowledge import token_loss

PSEUDO = "pseudo.sha256"
"""File of the run folder: which windows without actions it learns from."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WritingRun:
    """What such a run trains, on what, and where it writes."""

    config: FinetuneConfig
    accelerator: Accelerator
    folder: RunFolder
    data: Demonstrations
    statistics: Statistics
    seeds_before: dict[str, list[int]]
    """Simulated starts that the weights knew before the run, by task."""
    model: TokenModel
    network: nn.Module
    """The model, as the processes of the run share it."""
    optimizer: torch.optim.Optimizer
    averaged: dict[str, Tensor]
    """Averaged weights; empty: there are none."""
    tokens: StoredTokens
    """What its codes mean; never trained."""
    watched: WatchedWindows | None
    """Windows without actions that are learned as well; None: there are none."""
    sampler: CodeSampler
    shares: list[MicroBatch]
    """Forward passes of this process in one optimiser step."""

    @property
    def generators(self) -> dict[str, torch.Generator]:
        """Everything that draws, by name."""
        return {"data": self.sampler.generator}

    @property
    def output(self) -> str:
        """What the network gives, for the model card."""
        identity, codes = self.tokens.identity, self.tokens.codes
        return (
            f"chunks of {identity.horizon} actions as {codes} codes of "
            f"{self.tokens.model.config.codebook} ({identity.space} space, tokens "
            f"{identity.sha256[:12]})"
        )

    @property
    def about(self) -> dict[str, Any]:
        """More on the run, for the checkpoint's record."""
        watched = {} if self.watched is None else {"watched": str(self.watched)}
        return {"tokens": self.tokens.identity.as_dict(), **watched}

    def add_gradients(self, step: int) -> list[dict[str, Tensor]]:
        """Forward and backward passes of one optimiser step; returns the metrics of each."""
        device = self.accelerator.device
        draw, collected = self.sampler.draw(), []
        for micro_batch in self.shares:
            batch = self.sampler.load(draw, micro_batch, device)
            with no_sync(self.accelerator, self.network, micro_batch):
                with autocast(self.config.precision, device):
                    logits = self.network(batch.inputs)
                codes = batch.inputs.codes
                assert codes is not None
                loss = token_loss(logits, codes, batch.weight)
                if not torch.isfinite(loss):
                    self.folder.refuse_loss(step + 1, loss, batch.tensors())
                self.accelerator.backward(loss / len(self.shares))
            right = (logits.detach().argmax(-1) == codes).float().mean()
            collected.append({"loss": loss, "right_codes": right})
        return collected


def prepare_writing(opened: Opened) -> WritingRun:
    """Codes, network and optimiser of a run.

    Raises:
        TrainingError: the tokens are of another space, horizon, rate or layout than the chunks.
    """
    config, data, device = opened.config, opened.data, opened.accelerator.device
    built_from, recipe = opened.built_from, config.recipe
    if not isinstance(built_from, ClapNtpConfig) or not isinstance(config.policy, ClapNtpOptions):
        raise UsageError(
            f"policy:{config.policy_name} writes codes and is none that this version can teach: "
            "use policy:clap_ntp"
        )
    tokens = travelling_tokens(built_from.tokens, built_from.tokens_sha256)
    codes = chunk_codes(tokens, data, f"the tokens of {tokens.folder}")
    cell = parse_cell_text(data.contract)
    watched = None
    if config.policy.pseudo is not None:
        watched = read_windows(
            config.policy.pseudo,
            tokens,
            built_from,
            opened.statistics,
            arms=sides_of(tokens.identity, cell),
            confidence=config.policy.pseudo_confidence,
            image_memory_gb=config.images.memory_gb,
            object_names=data.object_names,
        )
        opened.folder.require_same(
            PSEUDO,
            watched.sha256(),
            f"--policy.pseudo {config.policy.pseudo}",
            "put back what it was, or choose another output",
            adopt=True,
        )
        opened.accelerator.print(str(watched))
    dropout = None
    if config.policy.image_dropout:
        dropout = WristDropout(config.policy.image_dropout, cell, built_from.cameras)

    model = build_policy(config, built_from, data.contract).to(device)
    assert isinstance(model, TokenModel)
    opened.accelerator.print(memory_estimate(model, recipe.ema_decay > 0.0))
    optimizer = make_optimizer(model, recipe.learning_rate, recipe.weight_decay, recipe.betas)
    network, _ = opened.accelerator.prepare(model, optimizer)
    sampler = CodeSampler(
        data,
        codes,
        ChunkTransform(opened.statistics),
        batch=recipe.observations,
        input_noise=config.input_noise,
        augmentation=make_augmentation(
            config.augmentation, cell, built_from.cameras, config.images.shift
        ),
        dropout=dropout,
        watched=watched,
        share=config.policy.pseudo_share,
        seed=config.seed,
    )
    return WritingRun(
        config=config,
        accelerator=opened.accelerator,
        folder=opened.folder,
        data=data,
        statistics=opened.statistics,
        seeds_before=opened.seeds_before,
        model=model,
        network=network,
        optimizer=optimizer,
        averaged=copy_weights(model) if recipe.ema_decay else {},
        tokens=tokens,
        watched=watched,
        sampler=sampler,
        shares=opened.shares,
    )
