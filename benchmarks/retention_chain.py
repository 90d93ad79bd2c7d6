"""The chain behind table (d): episodes, action tokens, a token policy, and a flow head on it."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ate_core.files import replace_text
from ate_policy.checkpoint import Checkpoint, load_checkpoint, resolve_checkpoint
from ate_policy.loading import restore_model
from ate_policy.models.clap_ntp import ClapNtp, ClapNtpOptions
from ate_policy.models.clap_rf import ClapRf, ClapRfConfig, ClapRfOptions, TrunkLearning
from ate_policy.models.entry import PolicyOptions, PresetName
from ate_policy.models.interface import Inputs
from ate_policy.noise import mix, target_of
from ate_policy.token_folder import load_tokens
from ate_policy.transforms import ChunkTransform, Statistics
from benchmarks.stages import DONE, learn, record, run_stage
from training.clap.chunk_codes import chunk_codes
from training.configs.knowledge import KnowledgeContexts, KnowledgeDirection
from training.configs.train_tokens import TrainTokensConfig
from training.data.dataset import Demonstrations, gather
from training.data.trajectory import read_trajectories
from training.objectives.denoising import regression_loss
from training.train_tokens import train_tokens

OLD, NEW = "handover", "pick_place"
"""Tasks: what the trunk learned, and what the flow head learns after it."""
REFERENCE = "reference"
"""Name of the token policy among the arms."""
SEED_STRIDE = 10_000
"""Distance between the starts of two sets of episodes."""
BATCH = 256
"""Ticks that are measured at a time."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to learn the new task."""

    trunk: TrunkLearning = "trained"
    """What reaches the trunk."""
    weight: float | None = None
    """Of the divergence; None: nothing is held."""
    direction: KnowledgeDirection = "paper"
    """Of the divergence."""
    contexts: KnowledgeContexts = "target"
    """Where it is taken."""
    replay: bool = False
    """Whether one in ten episodes is of the old task, with its actions."""


WEIGHTS = (0.005, 0.05, 0.5)
ARMS: dict[str, Arm] = {
    "plain": Arm(),
    "frozen": Arm(trunk="frozen"),
    "insulated": Arm(trunk="insulated"),
    **{f"km:{weight:g}": Arm(weight=weight) for weight in WEIGHTS},
    **{
        f"km:{weight:g}:reference": Arm(weight=weight, direction="reference") for weight in WEIGHTS
    },
    **{f"km:{weight:g}:old": Arm(weight=weight, contexts="old") for weight in WEIGHTS[1:]},
    "replay": Arm(replay=True),
    "km:0": Arm(weight=0.0),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a trunk keeps of an old task."""

    output: Path
    """Folder of episodes, runs and rows."""
    seeds: int = 6
    """Chains, each with episodes of its own."""
    first_seed: int = 0
    """Of the first chain: a second process can begin with later ones."""
    arms: tuple[str, ...] = tuple(ARMS)
    """Of the table; plain is needed by the others."""
    demonstrations: int = 20
    """Episodes of the old task; the new one has half as many."""
    held_out: int = 8
    """Episodes of each task that are only measured."""
    token_steps: int = 3000
    """Of the action tokens."""
    old_steps: int = 1500
    """Of the trunk on the old task."""
    between_steps: int = 60
    """Of the trunk on the new task, before it becomes the reference (stage 1)."""
    steps: int = 800
    """Of each arm."""
    batch: int = 32
    """Chunks per step, of trunk and head."""
    preset: PresetName = "small"
    """Size of trunk and head."""
    try_out: bool = False
    """The smallest chain, to try the program: its numbers mean nothing."""


Row = dict[str, Any]


def make_tokens(options: Options) -> Path:
    """Action tokens of both tasks, on episodes that no chain sees; returns their checkpoint."""
    folder, count = options.output / "tokens", options.demonstrations
    episodes = tuple(
        record(folder / task, task, (index + 1) * SEED_STRIDE * 100, count)
        for index, task in enumerate((OLD, NEW))
    )
    config = TrainTokensConfig(
        output=folder / "run", episodes=episodes, steps=options.token_steps, save_every=500
    )
    run_stage(train_tokens, config)
    return resolve_checkpoint(config.output)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Episodes and runs of one seed."""

    options: Options
    seed: int
    tokens: Path
    """Checkpoint of the action tokens."""
    _data: dict[str, Demonstrations] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Of all that is made."""
        return self.options.output / f"seed_{self.seed}"

    def episodes(self, task: str, *, held_out: bool = False) -> Path:
        """Demonstrations of a task."""
        options = self.options
        place = 2 * (task == NEW) + held_out
        count = options.demonstrations // (2 if task == NEW else 1)
        return record(
            self.folder / f"{task}{'_held_out' if held_out else ''}",
            task,
            (4 * self.seed + place) * SEED_STRIDE,
            options.held_out if held_out else count,
        )

    def replayed(self) -> Path:
        """The new task's episodes, and a ninth as many of the old one."""
        folder, new = self.folder / "replay", self.episodes(NEW)
        if not (folder / DONE).is_file():
            shutil.copytree(new, folder, ignore=lambda *_: [DONE], dirs_exist_ok=True)
            count = len([*new.glob("*.hdf5")])
            for index in range(max(1, round(count / 9))):
                name = f"episode_{count + index:06d}.hdf5"
                shutil.copy(self.episodes(OLD) / f"episode_{index:06d}.hdf5", folder / name)
            (folder / DONE).touch()
        return folder

    def reference(self) -> Path:
        """The token policy that all arms start from: it learned the old task, then a little."""
        policy = ClapNtpOptions(preset=self.options.preset, tokens=self.tokens)
        old = self._learn("old", self.episodes(OLD), self.options.old_steps, policy)
        kept = {"init": old, "statistics": "init"}
        steps = self.options.between_steps
        return self._learn("between", self.episodes(NEW), steps, policy, **kept)

    def run(self, name: str) -> Path:
        """Folder of the reference, or of an arm."""
        if name == REFERENCE:
            return self.reference()
        arm, knowledge = ARMS[name], {}
        if arm.weight is not None:
            knowledge = {
                "knowledge": self.reference(),
                "knowledge_weight": arm.weight,
                "knowledge_direction": arm.direction,
                "knowledge_contexts": arm.contexts,
                "knowledge_episodes": self.episodes(OLD) if arm.contexts == "old" else None,
            }
        return self._learn(
            f"arms/{name.replace(':', '-')}",
            self.replayed() if arm.replay else self.episodes(NEW),
            self.options.steps,
            ClapRfOptions(preset=self.options.preset, trunk=arm.trunk),
            init=self.reference(),
            statistics="init",
            **knowledge,
        )

    def row(self, name: str) -> Row:
        """What a run keeps and what it learned."""
        file = self.folder / f"{name.replace(':', '-')}.json"
        if not file.is_file():
            stored = load_checkpoint(self.run(name))
            row = {"arm": name, "seed": self.seed, **self._measured(stored)}
            if name == "km:0":
                plain = load_checkpoint(self.run("plain")).weights
                row["as_plain"] = all(torch.equal(stored.weights[k], v) for k, v in plain.items())
            replace_text(file, json.dumps(row, indent=1) + "\n")
            print(row, flush=True)
        found: Row = json.loads(file.read_text())
        return found

    def _learn(
        self, name: str, episodes: Path, steps: int, policy: PolicyOptions, **settings: Any
    ) -> Path:
        of = {"seed": self.seed, "batch": self.options.batch}
        return learn(self.folder / name, episodes, steps, policy, **of, **settings)

    def _demonstrations(self, task: str, *, held_out: bool = True) -> Demonstrations:
        key = f"{task} {held_out}"
        if key not in self._data:
            horizon = load_tokens(self.tokens).model.config.horizon
            config = ClapRfConfig(horizon=horizon, objects=2)
            folder = self.episodes(task, held_out=held_out)
            self._data[key] = gather(read_trajectories(folder), config)
        return self._data[key]

    def _measured(self, stored: Checkpoint) -> Row:
        model, row = restore_model(stored).eval(), Row()
        assert isinstance(model, ClapNtp | ClapRf)
        for key, task in (("old", OLD), ("new", NEW)):
            data = self._demonstrations(task)
            codes = chunk_codes(load_tokens(self.tokens), data, str(self.tokens))
            row[key] = accuracy(model, stored.statistics, data, codes)
            row[f"{key}_majority"] = majority(codes)
        if isinstance(model, ClapRf):
            row["error"] = flow_error(model, stored.statistics, self._demonstrations(NEW))
        return row


@torch.no_grad()
def accuracy(
    model: ClapNtp | ClapRf, statistics: Statistics, data: Demonstrations, codes: torch.Tensor
) -> float:
    """Share of codes (N, L) that the trunk ranks first, given the true ones before."""
    right = 0
    for rows in torch.arange(len(data)).split(BATCH):
        scores = model.trunk.score(_observed(statistics, data, rows), codes[rows])[1]
        right += int((scores.argmax(-1) == codes[rows]).sum())
    return right / codes.numel()


def majority(codes: torch.Tensor) -> float:
    """Share of codes (N, L) that are the most frequent one of their place."""
    return float((codes == codes.mode(0).values).float().mean())


@torch.no_grad()
def flow_error(model: ClapRf, statistics: Statistics, data: Demonstrations) -> float:
    """Mean squared error of the velocity, of noise that is the same for all models."""
    generator, total = torch.Generator().manual_seed(0), 0.0
    transform = ChunkTransform(statistics)
    for rows in torch.arange(len(data)).split(BATCH):
        chunks = transform.encode_chunk(data.actions[data.windows[rows]], data.states[rows])
        noise = torch.randn(chunks.shape, generator=generator)
        noised = mix(model.process, chunks, model.process.draw_levels(len(rows), generator), noise)
        made = model(noised.noisy, noised.level, _observed(statistics, data, rows))
        target = target_of(model.process.prediction, noised)
        total += len(rows) * regression_loss(made, target).item()
    return total / len(data)


def _observed(statistics: Statistics, data: Demonstrations, rows: torch.Tensor) -> Inputs:
    """What a network sees of ticks, without noise."""
    transform = ChunkTransform(statistics)
    if data.environment is None or transform.environment is None:
        raise ValueError("the chain observes object poses: its episodes lack them")
    return Inputs(
        state=transform.state.apply(data.states[rows]),
        environment=transform.environment.apply(data.environment[rows]),
    )
