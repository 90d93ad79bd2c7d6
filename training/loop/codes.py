"""What a run is told of codes: those of its chunks, and a reference that holds its trunk."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from ate_core.contract import parse_cell_text
from ate_core.errors import TrainingError, UsageError
from ate_policy.checkpoint import describe_checkpoint
from ate_policy.models.clap_trunk import TrunkConfig
from ate_policy.models.interface import ChunkModel, PolicyConfig
from ate_policy.token_folder import StoredTokens, require_same_tokens
from ate_policy.transforms import ChunkTransform, Statistics
from training.clap.chunk_codes import chunk_codes
from training.clap.reference import TokenReference, load_reference, tokens_of
from training.configs.finetune import FinetuneConfig
from training.data.augmentation import Augmentation
from training.data.dataset import Demonstrations, gather
from training.data.digests import sha256_of
from training.data.micro_batch import MicroBatch
from training.data.sampler import Batch, BatchSampler, Draw
from training.data.trajectory import read_trajectories, require_same_objects
from training.loop.initial_policy import fingerprint
from training.loop.run_folder import RunFolder
from training.objectives.denoising import Objective
from training.objectives.knowledge import KnowledgeMatching, TokenLoss

FINGERPRINT = "knowledge.sha256"
"""File of the run folder: which weights the trunk is held to."""
OLD_EPISODES = "knowledge_episodes.sha256"
"""File of the run folder: which observations are recalled."""
RECALL_SEED = 1_000_000
"""Added to a run's seed for what it recalls: the stream of its own data stays what it was."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CodesOfRun:
    """Which codes the network of a run scores, and what their scores are for."""

    of_chunks: Tensor | None = None
    """(N, L) of each tick's chunk; None: other observations are recalled."""
    reference: TokenReference | None = None
    """What the scores are compared with; None: the codes themselves are learned."""
    old: Demonstrations | None = None
    """Observations that are recalled."""
    around: Callable[[Objective], Objective]
    """The objective of the chunks -> with that of the codes."""


class Recall:
    """Observations of other episodes, with the codes that the reference writes there."""

    def __init__(self, sampler: BatchSampler, reference: TokenReference) -> None:
        self._sampler, self._reference = sampler, reference
        self.generator = sampler.generator

    def draw(self) -> Draw:
        """Random numbers of the next step; the same on every process."""
        return self._sampler.draw()

    def beside(
        self, batch: Batch, draw: Draw, micro_batch: MicroBatch, device: torch.device
    ) -> Batch:
        """A batch that recalls observations, as many as it has itself."""
        nothing = torch.empty(len(draw.level), 0)
        seen = self._sampler.load(draw, micro_batch, nothing, device).inputs
        recalled = dataclasses.replace(seen, codes=self._reference.write(seen))
        return dataclasses.replace(
            batch, inputs=dataclasses.replace(batch.inputs, recalled=recalled)
        )


def codes_of_run(
    config: FinetuneConfig,
    network: PolicyConfig,
    data: Demonstrations,
    statistics: Statistics,
    folder: RunFolder,
    device: torch.device,
) -> CodesOfRun | None:
    """What the losses of a run ask of codes; None: nothing.

    Args:
        config: Of the run.
        network: What is trained.
        data: Its demonstrations.
        statistics: That they are normalised with.
        folder: Keeps which reference the run has.
        device: Where the network is trained.

    Raises:
        AteError: a reference that cannot be compared, tokens of other chunks, a trunk that writes
            no codes or does not learn.
    """
    matching = config.matching
    if network.learns_codes:
        if matching.reference is not None:
            raise UsageError(
                "the trunk is insulated and learns its codes, --knowledge would hold it where it "
                "is: leave one of both out"
            )
        if data.imitation.weights is not None:
            raise TrainingError(
                "the codes of a chunk are learned as a whole, and some of these chunks are only "
                "in part a demonstration's: give --policy-actions keep, or leave out the episodes "
                "in which a policy drove"
            )
        tokens, what = _tokens_of_start(config)
        return CodesOfRun(of_chunks=chunk_codes(tokens, data, what), around=TokenLoss)
    if matching.reference is None or not matching.holds:
        return None
    _require_learning_trunk(config, network)
    reference = load_reference(matching.reference, device)
    tokens, what = _tokens_of_start(config)
    require_same_tokens(
        tokens.identity, reference.tokens.identity, f"the reference {reference.folder}"
    )
    reference.require_comparable(network, statistics, data.contract)
    remedy = f"put back what {reference.folder} was, or choose another output"
    folder.require_same(FINGERPRINT, fingerprint(reference.model), "the reference", remedy)

    def around(inner: Objective) -> Objective:
        return KnowledgeMatching(inner, reference, matching.weight, matching.direction)

    if matching.contexts == "old":
        old = _old_observations(config, network, data)
        folder.require_same(
            OLD_EPISODES,
            sha256_of(old.states, old.environment, old.labels_sha256()),
            f"--knowledge-episodes {config.knowledge_episodes}",
            "put back what it was, or choose another output",
            adopt=True,
        )
        return CodesOfRun(reference=reference, old=old, around=around)
    codes = chunk_codes(tokens, data, what)
    return CodesOfRun(of_chunks=codes, reference=reference, around=around)


def make_recall(
    config: FinetuneConfig,
    codes: CodesOfRun | None,
    statistics: Statistics,
    model: ChunkModel,
    augmentation: Augmentation | None,
) -> Recall | None:
    """What brings recalled observations beside the batches; None: none are."""
    if codes is None or codes.old is None or codes.reference is None:
        return None
    sampler = BatchSampler(
        codes.old,
        ChunkTransform(statistics),
        model,
        batch=config.recipe.observations,
        input_noise=config.input_noise,
        augmentation=augmentation,
        seed=config.seed + RECALL_SEED,
    )
    return Recall(sampler, codes.reference)


def _tokens_of_start(config: FinetuneConfig) -> tuple[StoredTokens, str]:
    """The tokens of the policy that a run starts from, and their name for messages."""
    if config.init is None:
        raise UsageError("the trunk's codes mean nothing yet: give --init of a token policy")
    return tokens_of(describe_checkpoint(config.init), config.init), f"the tokens of {config.init}"


def _require_learning_trunk(config: FinetuneConfig, network: PolicyConfig) -> None:
    if network.keeps:
        raise UsageError(
            f"the {network.keeps} is frozen and stays as it is: leave --knowledge out, or train "
            f"the {network.keeps} along"
        )
    if not isinstance(network, TrunkConfig) or not network.codes:
        raise UsageError(
            f"the policy of {config.init} has no part that writes codes, which --knowledge "
            f"compares: give --init {config.knowledge}"
        )


def _old_observations(
    config: FinetuneConfig, network: PolicyConfig, data: Demonstrations
) -> Demonstrations:
    """Episodes of which only the observations are read."""
    folder = config.matching.episodes
    if folder is None:  # refused with the options
        raise UsageError("knowledge_episodes is missing: give --knowledge-episodes")
    old = gather(read_trajectories(folder), network, image_memory_gb=config.images.memory_gb)
    layout = parse_cell_text(data.contract).layout
    layout.require(parse_cell_text(old.contract).layout, str(folder))
    if old.objects != data.objects:
        raise TrainingError(
            f"{folder} has {old.objects} object poses per tick, the run's episodes "
            f"{data.objects}: give episodes with as many"
        )
    require_same_objects(str(folder), old.object_names, str(config.episodes), data.object_names)
    return old
