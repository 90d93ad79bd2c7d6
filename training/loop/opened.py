"""What every run of `ate finetune` begins with: its folder, its demonstrations, their units."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from accelerate import Accelerator

from ate_core.contract import parse_cell_text, untold_kinds
from ate_core.errors import TrainingError
from ate_core.trained_for import objects_of, starts_by_task, unlike_start
from ate_policy.checkpoint import Checkpoint, describe_checkpoint, resolve_checkpoint
from ate_policy.models.interface import PolicyConfig
from ate_policy.transforms import Statistics
from training.configs.finetune import FinetuneConfig
from training.data.dataset import Demonstrations, gather
from training.data.micro_batch import MicroBatch
from training.data.summaries import file_sha256
from training.data.trajectory import read_trajectories
from training.loop.policies import horizon_of, policy_config
from training.loop.processes import make_accelerator, micro_batches
from training.loop.run_folder import RunFolder
from training.objectives.latent_guidance import EncoderOptions
from training.pretrained.kept_statistics import choose_statistics, statistics_of
from training.pretrained.start import inherit

LABELS, ENCODER = "labels.sha256", "encoder.sha256"
"""Files of the run folder: what is told of the demonstrations, and which encoder steers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """A run before its network is built."""

    config: FinetuneConfig
    """With what was inherited and chosen."""
    accelerator: Accelerator
    folder: RunFolder
    shares: list[MicroBatch]
    """Forward passes of this process in one optimiser step."""
    data: Demonstrations
    statistics: Statistics
    seeds_before: dict[str, list[int]]
    """Simulated starts that the weights knew before the run, by task."""
    built_from: PolicyConfig
    """Configuration of the network."""


def open_run(config: FinetuneConfig) -> Opened:
    """Open a run: what is cheap is refused first.

    Args:
        config: As given.
    """
    accelerator = make_accelerator()
    config = inherit(config, accelerator.print)
    config = dataclasses.replace(config, horizon=horizon_of(config))
    folder = RunFolder(
        config.output,
        config.record(),
        config.resume,
        upgrade=config.upgrade,
        main=accelerator.is_main_process,
    )
    shares = micro_batches(accelerator, config.recipe.observations, config.optim.accumulate)
    trajectories = read_trajectories(config.episodes, config.demonstrations, config.gate)
    built_from = policy_config(config, trajectories[0])
    data = gather(
        trajectories,
        built_from,
        image_memory_gb=config.images.memory_gb,
        corrections=config.corrections,
    )
    _require_same_inputs(config, folder, data)
    if config.init is not None and not config.resume:
        before = describe_checkpoint(config.init)
        _require_same_columns(config.init, before, data)
        _tell_other_body(config.init, before, data, built_from, accelerator.print)
    if told := str(data.imitation):
        accelerator.print(told)
    # what stands at --init may have changed since: the weights of a resumed run know its own
    stored = describe_checkpoint(config.output) if config.resume else None
    source, statistics = (
        choose_statistics(config, data, accelerator.print)
        if stored is None
        else statistics_of(stored)
    )
    return Opened(
        config=dataclasses.replace(config, statistics=source),
        accelerator=accelerator,
        folder=folder,
        shares=shares,
        data=data,
        statistics=statistics,
        seeds_before=_seeds_before(config, stored),
        built_from=built_from,
    )


def _seeds_before(config: FinetuneConfig, stored: Checkpoint | None) -> dict[str, list[int]]:
    """Starts that the weights knew before the run; one that goes on keeps what it said."""
    if stored is not None and "seeds_before" in stored.training:  # older versions said nothing
        kept: dict[str, list[int]] = stored.training["seeds_before"]
        return kept
    if config.init is None:
        return {}
    return starts_by_task(describe_checkpoint(config.init).training)


def _tell_other_body(
    init: Path,
    stored: Checkpoint,
    data: Demonstrations,
    reads: PolicyConfig,
    tell: Callable[[str], object],
) -> None:
    """Tell of arms, grippers and cameras that are others than those that the weights know.

    Weights may well go on to another body; exchanged arms or cameras are a mistake.
    """
    found = unlike_start(
        stored.cell,
        parse_cell_text(data.contract),
        reads.cameras,
        str(init),
        untold_kinds(stored.contract),
    )
    for finding in found:
        tell(finding.text)


def _require_same_columns(init: Path, stored: Checkpoint, data: Demonstrations) -> None:
    """Refuse weights that learned an object in another column; other objects are a new task."""
    learned = objects_of(stored.training)
    moved = [
        name
        for column, name in enumerate(data.object_names)
        if name in learned and learned.index(name) != column
    ]
    if moved:
        raise TrainingError(
            f"{init} learned from poses of {', '.join(learned)}, these episodes have "
            f"{', '.join(data.object_names)} in this order: start from a policy of this task, or "
            "train with --variant vision"
        )


def _require_same_inputs(config: FinetuneConfig, folder: RunFolder, data: Demonstrations) -> None:
    """Refuse to resume with other data, or with the encoder of another action VAE."""
    folder.require_same_data(data.sha256())
    folder.require_same(
        LABELS,
        data.labels_sha256(),
        f"what is told of {config.episodes} (instructions, seeds, lengths)",
        "put back what it was, or begin another run from the newest checkpoint",
        adopt=True,
    )
    if isinstance(config.guidance, EncoderOptions):
        vae = config.guidance.vae
        folder.require_same(
            ENCODER,
            file_sha256(resolve_checkpoint(vae) / "model.safetensors"),
            f"the encoder of {vae}",
            "put back what it was, or choose another output",
            adopt=True,
        )
