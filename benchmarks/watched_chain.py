"""The chain behind table (c): demonstrations, clips with codes, token policy, flow head."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ate_core.files import replace_text
from ate_policy.checkpoint import load_checkpoint
from ate_policy.loading import restore_model
from ate_policy.models.clap_ntp import ClapNtp, ClapNtpConfig, ClapNtpOptions
from ate_policy.models.clap_rf import ClapRfOptions
from ate_policy.models.entry import PolicyOptions, PresetName
from ate_policy.token_folder import StoredTokens, load_tokens
from benchmarks import video_alignment
from benchmarks.retention_chain import accuracy, majority
from benchmarks.stages import learn, record, run_stage
from training.align_video import align_video
from training.clap.align_storage import load_alignment
from training.clap.chunk_codes import chunk_codes, encode_arms
from training.clap.pseudo_labels import PseudoLabels, read_pseudo_labels, write_pseudo_labels
from training.configs.align_video import AlignVideoConfig
from training.data.dataset import gather
from training.data.trajectory import read_trajectories
from training.evaluate import EvaluateConfig, evaluate
from training.label_video import labels_of

TASK = "pick_place"
"""What is demonstrated and shown in clips."""
ARMS = ("demonstrations", "pseudo", "shuffled", "true codes")
"""Demonstrations alone; with clips and the codes that aligned video reads from them; with these
codes exchanged among all windows; with the codes of what the clips' arms did."""
FIRST_START, STARTS = 3_000_000, 1000
"""First start of the demonstrations, and of the rollouts."""
SEED_STRIDE = 10_000
"""Distance between the demonstrations of two seeds."""

Row = dict[str, Any]
Codes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What clips without actions add to few demonstrations."""

    alignment: Path
    """Folder of `benchmarks.video_alignment`: its tokens, clips and episodes of other tasks."""
    output: Path
    """Folder of runs and rows."""
    seeds: int = 6
    """Chains, each with demonstrations and an alignment of its own."""
    first_seed: int = 0
    """Of the first chain: a second process can begin with later ones."""
    arms: tuple[str, ...] = ARMS
    """Of the table."""
    demonstrations: int = 10
    """Of the task, by the robot."""
    align_steps: int = 600
    """Of the aligned video."""
    token_steps: int = 1500
    """Of the token policy."""
    steps: int = 1500
    """Of the flow head."""
    batch: int = 32
    """Chunks per step, of either."""
    starts: int = 100
    """Rollouts of each flow head, the same starts for all."""
    limit: float = 20.0
    """Longest rollout [s]."""
    preset: PresetName = "small"
    """Size of trunk and head."""
    try_out: bool = False
    """The smallest chain, to try the program: its numbers mean nothing."""

    @cached_property
    def of_alignment(self) -> video_alignment.Options:
        """Settings of table (b)."""
        smallest: dict[str, Any] = {"episodes": 2, "judged": 3, "token_steps": 2}
        changes = smallest if self.try_out else {}
        return video_alignment.Options(output=self.alignment, **changes)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Episodes and runs of one seed."""

    options: Options
    seed: int

    @property
    def folder(self) -> Path:
        """Of all that is made."""
        return self.options.output / f"seed_{self.seed}"

    @cached_property
    def tokens(self) -> StoredTokens:
        """Action tokens of table (b)."""
        return load_tokens(video_alignment.make_tokens(self.options.of_alignment))

    def demonstrations(self) -> Path:
        """The few that a policy learns from."""
        return record(
            self.folder / "demonstrations",
            TASK,
            FIRST_START + self.seed * SEED_STRIDE,
            self.options.demonstrations,
            cameras=(video_alignment.CAMERA,),
        )

    def part(self, name: str, *, of_task: bool) -> Path:
        """Links to those episodes of table (b) that are of the task, or that are not."""
        options = self.options.of_alignment
        episodes = sorted(video_alignment.record(options, name).glob("*.hdf5"))
        per_task = len(episodes) // len(options.tasks)
        folder = self.folder / f"{name}_{'task' if of_task else 'others'}"
        folder.mkdir(parents=True, exist_ok=True)
        for index, file in enumerate(episodes):
            link = folder / file.name
            if (options.tasks[index // per_task] == TASK) == of_task and not link.exists():
                link.symlink_to(file.absolute())
        return folder

    def labels(self, arm: str) -> Path:
        """Codes beside the clips, written for an arm."""
        clips = self.part("video", of_task=True)
        file = clips / f"{arm.replace(' ', '_')}.safetensors"
        if not file.is_file():
            write_pseudo_labels(file, self._made_labels(arm, clips))
        return file

    def _made_labels(self, arm: str, clips: Path) -> PseudoLabels:
        if arm == "pseudo":
            aligned = load_alignment(self._alignment())
            seen = labels_of(aligned, clips, video_alignment.CAMERA, {"seed": self.seed})
            known = true_codes(clips, self.tokens)
            return among(seen, {name: first for name, (first, _) in known.items()})
        pseudo = read_pseudo_labels(self.labels("pseudo"))
        if arm == "shuffled":
            return shuffled(pseudo, self.seed)
        return with_true_codes(pseudo, true_codes(clips, self.tokens))

    def _alignment(self) -> Path:
        config = AlignVideoConfig(
            output=self.folder / "aligned",
            tokens=self.tokens.folder,
            episodes=(self.part("robot", of_task=False), self.demonstrations()),
            videos=(video_alignment.record(self.options.of_alignment, "video"),),
            steps=self.options.align_steps,
            seed=self.seed,
        )
        run_stage(align_video, config)
        return config.output

    def token_policy(self, arm: str) -> Path:
        """Token policy of an arm."""
        pseudo = None if arm == ARMS[0] else self.labels(arm)
        policy = ClapNtpOptions(
            preset=self.options.preset, tokens=self.tokens.folder, pseudo=pseudo
        )
        return self._learn(f"{arm}/tokens", self.options.token_steps, policy)

    def flow_head(self, arm: str) -> Path:
        """Flow head on the trunk of an arm's token policy."""
        policy = ClapRfOptions(preset=self.options.preset)
        start = self.token_policy(arm)
        return self._learn(
            f"{arm}/flow", self.options.steps, policy, init=start, statistics="init"
        )

    def _learn(self, name: str, steps: int, policy: PolicyOptions, **settings: Any) -> Path:
        output = self.folder / "arms" / name.replace(" ", "_")
        of = {"seed": self.seed, "batch": self.options.batch}
        return learn(output, self.demonstrations(), steps, policy, **of, **settings)

    def row(self, arm: str) -> Row:
        """What an arm reaches."""
        file = self.folder / f"{arm.replace(' ', '_')}.json"
        if not file.is_file():
            row = {"arm": arm, "seed": self.seed, **self._rolled_out(arm), **self._read(arm)}
            if arm != ARMS[0]:
                row["labels_right"] = self._labels_right(arm)
            replace_text(file, json.dumps(row, indent=1) + "\n")
            print(row, flush=True)
        found: Row = json.loads(file.read_text())
        return found

    def _rolled_out(self, arm: str) -> Row:
        run = self.flow_head(arm)
        config = EvaluateConfig(
            checkpoints=(run,),
            output=run.with_name("rollouts.json"),
            task=TASK,
            episodes=self.options.starts,
            first_seed=STARTS,
            limit=self.options.limit,
            untrained=False,
            blind=False,
        )
        if not config.output.is_file():
            evaluate(config)
        [rollouts] = json.loads(config.output.read_text())["policies"].values()
        return {
            key: float(np.mean([one[key] for one in rollouts])) for key in ("success", "score")
        }

    def _read(self, arm: str) -> Row:
        """How often the token policy writes the code of a demonstration that it never saw."""
        stored = load_checkpoint(self.token_policy(arm))
        model = restore_model(stored).eval()
        assert isinstance(model, ClapNtp)
        objects = int(stored.model["objects"])
        config = ClapNtpConfig(horizon=self.tokens.identity.horizon, objects=objects)
        judged = self.part("robot_judged", of_task=True)
        data = gather(read_trajectories(judged), config)
        codes = chunk_codes(self.tokens, data, str(self.tokens.folder))
        right = accuracy(model, stored.statistics, data, codes)
        return {"right": right, "majority": majority(codes)}

    def _labels_right(self, arm: str) -> float:
        labels, true = (read_pseudo_labels(self.labels(one)) for one in (arm, ARMS[-1]))
        return float(np.mean(_all_codes(labels) == _all_codes(true)))


def true_codes(folder: Path, tokens: StoredTokens) -> dict[str, tuple[int, Codes]]:
    """Codes (T, A, N_q) of what the arms of clips did, by the name of the episode.

    Each with the row of the file that they begin at. For scoring, and for the arm that knows.
    """
    trajectories, data = video_alignment.known_motion(folder, tokens, is_video=True)
    codes = encode_arms(tokens, data.normalised())
    return {
        Path(one.name).stem: (one.first_image, codes[data.episode == index].numpy())
        for index, one in enumerate(trajectories)
    }


def among(labels: PseudoLabels, firsts: Mapping[str, int]) -> PseudoLabels:
    """Those windows of which the true codes are known too."""
    episodes = {}
    for name, one in labels.episodes.items():
        kept = one.ticks >= firsts[name]
        parts = {key: getattr(one, key)[kept] for key in ("ticks", "codes", "confidence")}
        episodes[name] = dataclasses.replace(one, **parts)
    return dataclasses.replace(labels, episodes=episodes)


def with_true_codes(labels: PseudoLabels, known: Mapping[str, tuple[int, Codes]]) -> PseudoLabels:
    """The same windows with the codes of what the arms did, all sure."""
    episodes = {}
    for name, one in labels.episodes.items():
        first, codes = known[name]
        episodes[name] = dataclasses.replace(
            one, codes=codes[one.ticks - first], confidence=np.ones_like(one.confidence)
        )
    return dataclasses.replace(labels, episodes=episodes)


def shuffled(labels: PseudoLabels, seed: int) -> PseudoLabels:
    """The same codes, each beside a window drawn among all."""
    order = np.random.default_rng(seed).permutation(labels.windows)
    codes = _all_codes(labels)[order]
    sure = np.concatenate([one.confidence for one in labels.episodes.values()])[order]
    episodes, begin = {}, 0
    for name, one in labels.episodes.items():
        rows = slice(begin, begin + len(one.ticks))
        episodes[name] = dataclasses.replace(one, codes=codes[rows], confidence=sure[rows])
        begin = rows.stop
    return dataclasses.replace(labels, episodes=episodes)


def share_of(rows: Sequence[Row]) -> float | None:
    """Mean share of right codes beside the clips; None: there are none."""
    found = [row["labels_right"] for row in rows if "labels_right" in row]
    return float(np.mean(found)) if found else None


def _all_codes(labels: PseudoLabels) -> Codes:
    return np.concatenate([one.codes for one in labels.episodes.values()])
