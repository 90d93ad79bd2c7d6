"""What each stage learns from: normalised chunks, and the prior of the second stage."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ate_core.contract import Cell, load_cell, parse_cell_text
from ate_core.errors import TrainingError
from ate_policy.checkpoint import Checkpoint, describe_checkpoint
from ate_policy.chunking import usual_horizon
from ate_policy.models.interface import PolicyConfig
from ate_policy.transforms import ChunkTransform, Statistics
from training.configs.train_vae import TrainVaeConfig
from training.data.chunk_rows import ChunkRows
from training.data.corrections import Corrections
from training.data.dataset import action_space, gather
from training.data.digests import sha256_of, spread
from training.data.episode_file import read_cell
from training.data.pretraining import load_sources, make_chunks, report_constant
from training.data.statistics import quantile_statistics, unit_statistics
from training.data.trajectory import read_trajectories
from training.pretrained.kept_statistics import impossible
from training.pretrained.known import require_known
from training.pretrained.start import learned_of
from training.vae.model import VaeConfig
from training.vae.recipe import Recipe
from training.vae.storage import StoredVae, load_vae, require_finished

SAMPLED = 4096
"""Chunks that stand for all of them in a digest: written out, many are large."""


@dataclass(frozen=True, kw_only=True)
class VaeData:
    """What a stage learns from."""

    chunks: Tensor | ChunkRows
    """(N, H, D), normalised."""
    statistics: Statistics
    """Of the demonstrations (stage 2), or of the first source (stage 1)."""
    contract: str
    """Canonical text of the cell."""
    sources: dict[str, int]
    """Origin of the chunks, in their order: name -> how many."""
    states: Tensor | None = None
    """(N, S) measured at the tick of each chunk (stage 2)."""
    about: dict[str, Any] = field(default_factory=dict)
    """More on the origin, for the record."""

    def sha256(self) -> str:
        """Digest that tells whether a run learns from the same data."""
        return sha256_of(
            self.contract, str(self.sources), spread(self.chunks, SAMPLED), self.states
        )


def load_chunks(config: TrainVaeConfig, recipe: Recipe) -> VaeData:
    """The chunks of the run's stage."""
    if config.episodes is None:
        data = load_pretraining(config, recipe)
    else:
        data = load_demonstrations(config, config.episodes, recipe)
    if len(data.chunks) < config.batch and recipe.schedule == "epochs":
        raise TrainingError(
            f"{len(data.chunks)} chunks are fewer than a batch of {config.batch}, and epochs drop "
            "the rest: lower --batch or give more motion"
        )
    return data


def horizon_of(config: TrainVaeConfig) -> int:
    """Actions per chunk: as given, or those of one second at the tick rate of the data's cell."""
    if config.horizon is not None:
        return config.horizon
    cell = load_cell(config.cell) if config.episodes is None else read_cell(config.episodes)
    return usual_horizon(cell.tick_rate)


def stored_config(checkpoint: Checkpoint, **changes: Any) -> TrainVaeConfig:
    """The configuration of a finished run, so that its chunks can be made again."""
    names = {f.name for f in fields(TrainVaeConfig)}
    values: dict[str, Any] = {k: v for k, v in checkpoint.training.items() if k in names}
    given = values.get("recordings") or ()
    values["recordings"] = tuple(map(Path, [given] if isinstance(given, str) else given))
    for name in ("output", "episodes", "prior", "cell", "statistics_of"):
        values[name] = None if values.get(name) is None else Path(values[name])
    return TrainVaeConfig(**values | changes)


def load_pretraining(config: TrainVaeConfig, recipe: Recipe) -> VaeData:
    """Stage 1: chunks of other robots; each source normalised on its own."""
    cell = load_cell(config.cell)
    relative = config.actions == "relative"
    sources = load_sources(
        cell,
        recordings=config.recordings,
        motions=config.motions,
        seed=config.seed,
        measured=relative,
    )
    made = make_chunks(
        sources,
        cell.layout.action,
        horizon_of(config),
        space=config.actions,
        repeat_tail=recipe.tail == "repeat",
        normalise=recipe.normalised,
    )
    first = next(iter(made.statistics.values()))
    tables = {
        name: {key: list(getattr(value.action, key)) for key in ("mean", "std")}
        for name, value in made.statistics.items()
    }
    about: dict[str, Any] = {"sources": made.counts, "source_statistics": tables}
    if relative:
        about["relative_to"] = {
            one.name: "first action" if one.states is None else "measured state" for one in sources
        }
    return VaeData(
        chunks=made.chunks,
        statistics=first,
        contract=cell.canonical_text(),
        sources=made.counts,
        about=about,
    )


def load_demonstrations(config: TrainVaeConfig, episodes: Path, recipe: Recipe) -> VaeData:
    """Stage 2: the chunks on which the policy will be trained, in the same normalisation."""
    trajectories = read_trajectories(episodes, config.demonstrations, config.gate)
    data = gather(
        trajectories,
        PolicyConfig(horizon=horizon_of(config)),
        corrections=Corrections(policy_actions=config.policy_actions),
    )
    cell = parse_cell_text(data.contract)
    report_constant(data.actions.numpy(), cell.layout.action, f"demonstrations in {episodes}")
    statistics = data.statistics(config.actions)
    if config.statistics_of is not None:
        statistics = _statistics_of(config.statistics_of, config, cell)
    if config.by_quantiles:
        statistics = quantile_statistics(statistics)
    if not recipe.normalised:
        statistics = replace(statistics, action=unit_statistics(statistics.action))
    chunks, states, windows = data.chunks(ChunkTransform(statistics)), data.states, data.windows
    if data.imitation.ticks is not None:
        learnt = data.imitation.ticks
        chunks, states, windows = chunks[learnt], states[learnt], windows[learnt]
    if recipe.tail == "drop":  # a chunk that repeats its last row reaches behind the end
        whole = windows[:, -1] - windows[:, 0] == windows.shape[1] - 1
        chunks, states = chunks[whole], states[whole]
    return VaeData(
        chunks=chunks,
        statistics=statistics,
        contract=data.contract,
        sources={data.task or "unnamed": len(chunks)},
        states=states,
        about={
            "task": data.task,
            "demonstration_count": data.episodes,
            "motion_sha256": data.motion_sha256(),
        },
    )


def _statistics_of(folder: Path, config: TrainVaeConfig, cell: Cell) -> Statistics:
    """Statistics of a policy, if its actions are those of this run."""
    stored = describe_checkpoint(folder)
    require_known(folder, "a VAE of them would align to made-up ones")
    if learned_of(stored)[1] is False:
        raise TrainingError(
            f"{folder} learned robot units, it has no statistics to normalise with: give "
            "--no-normalise in place of --statistics-of"
        )
    if stored.cell.layout.action.names != cell.layout.action.names:
        raise TrainingError(f"{folder} has another action layout: give a policy of this cell")
    space = action_space(stored.statistics)
    if space != config.actions:
        raise TrainingError(
            f"{folder} learned {space} actions, this run {config.actions} ones: give --actions "
            f"{space}"
        )
    for line in impossible(stored.statistics, cell):
        print(f"{folder}: {line}")
    return stored.statistics


def load_prior(config: TrainVaeConfig, data: VaeData, sizes: VaeConfig) -> StoredVae | None:
    """The stage-1 VAE, if its latent and chunks fit; None where the prior is N(0, I)."""
    if config.prior is None:
        return None
    stored = load_vae(config.prior)
    require_finished(stored, config.prior)
    own, theirs = parse_cell_text(data.contract).layout, stored.checkpoint.cell.layout
    if (own.action, own.tick_rate) != (theirs.action, theirs.tick_rate):
        raise TrainingError(
            f"{config.prior} has another action layout or tick rate "
            f"({'; '.join(theirs.differences(own))}): train stage 1 with --cell of the "
            "demonstrations' cell"
        )
    if stored.stage != 1:
        raise TrainingError(f"{config.prior} is of stage {stored.stage}: give a stage-1 VAE")
    space, of_prior = (action_space(s) for s in (data.statistics, stored.checkpoint.statistics))
    if space != of_prior:
        raise TrainingError(
            f"{config.prior} was trained on {of_prior} actions, this run on {space} ones: give "
            "both stages the same --actions"
        )
    horizon = stored.model.config.horizon
    if horizon != sizes.horizon:
        raise TrainingError(
            f"{config.prior} was trained on chunks of {horizon} actions, this run on "
            f"{sizes.horizon}: give both stages the same --horizon"
        )
    if stored.checkpoint.training.get("normalise", True) != config.normalise:
        raise TrainingError(
            f"only one of {config.prior} and this run has --no-normalise: give it to both stages "
            "or to none"
        )
    if stored.model.latent != sizes.latent:
        raise TrainingError(
            f"{config.prior} has latent {stored.model.latent}, this run {sizes.latent}: give "
            f"--latent {stored.model.latent}, or the --preset of stage 1"
        )
    if config.start_from_prior and stored.model.config != sizes:
        raise TrainingError(
            f"{config.prior} has other sizes than this run: use those of stage 1, or leave out "
            "--start-from-prior"
        )
    return stored


def vae_sizes(config: TrainVaeConfig, recipe: Recipe, data: VaeData) -> VaeConfig:
    """Sizes of the VAE of this run."""
    return VaeConfig(
        horizon=data.chunks.shape[1],
        action_size=data.chunks.shape[-1],
        latent_head=recipe.latent_head,
        **config.sizes(),
    )
