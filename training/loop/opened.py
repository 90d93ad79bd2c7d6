"""What every run of `ate finetune` begins with: its folder, its demonstrations, their units."""

import dataclasses

from accelerate import Accelerator

from ate_policy.models.interface import PolicyConfig
from ate_policy.transforms import Statistics
from training.configs.finetune import FinetuneConfig
from training.data.dataset import Demonstrations, gather
from training.data.micro_batch import MicroBatch
from training.data.trajectory import read_trajectories
from training.loop.policies import horizon_of, policy_config
from training.loop.processes import make_accelerator, micro_batches
from training.loop.run_folder import RunFolder
from training.pretrained.kept_statistics import choose_statistics
from training.pretrained.start import inherit


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
    folder.require_same_data(data.sha256())
    if told := str(data.imitation):
        accelerator.print(told)
    source, statistics = choose_statistics(config, data, accelerator.print)
    return Opened(
        config=dataclasses.replace(config, statistics=source),
        accelerator=accelerator,
        folder=folder,
        shares=shares,
        data=data,
        statistics=statistics,
        built_from=built_from,
    )
