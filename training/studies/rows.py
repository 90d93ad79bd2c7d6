"""A study's results in small files, one line for each arm and seed, apart from its run folders.

rows/settings.json                     of the study; rows of others are refused
rows/seed_003/paper-untrained.json     rollouts of one arm at every checkpoint
rows/seed_003/encoders.json            where the encoders' gradients point

Rows may come from several days and machines, if all of them start from the same networks.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ate_core.errors import TrainingError, UsageError
from ate_core.files import replace_text
from ate_core.json_text import read_object
from ate_policy.checkpoint import resolve_checkpoint
from training.configs.record import Record, differences
from training.data.summaries import file_sha256
from training.studies.rollout import Trial

ENCODERS = "encoders"
"""Row of a seed's encoders."""
BEGINNINGS = {
    "start": ("the pre-trained policy", "pretraining"),
    "prior": ("stage 1 of the action VAE", "vae"),
}
"""What rows have in common, and the folder to copy to another machine."""
KEPT = ("success", "score", "jerk", "refused", "duration")
"""What of each rollout is kept."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A folder of rows."""

    folder: Path
    """Where they lie."""

    def open(self, settings: Record) -> None:
        """Make the folder, or refuse one of a study with other settings."""
        file = self.folder / "settings.json"
        if file.is_file():
            stored = read_object(file, UsageError, "choose another folder")
            if lines := [line for _, line in differences(stored, settings)]:
                raise UsageError(
                    f"{self.folder} holds rows of other settings: {'; '.join(lines)}. Go on with "
                    "the same ones, or choose another folder"
                )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_text(file, json.dumps(settings, indent=1) + "\n")

    def has(self, seed: int, name: str) -> bool:
        """Whether a row is there."""
        return self._file(seed, name).is_file()

    def write(self, seed: int, name: str, row: Mapping[str, Any]) -> None:
        """Put a row there, whole or not at all."""
        made = {"torch": torch.__version__, "machine": platform.machine()}
        file = self._file(seed, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"seed": seed, "row": name, **row, "made": made}, separators=(",", ":"))
        replace_text(file, line + "\n")

    def read(self, seed: int, name: str) -> dict[str, Any]:
        """A row that is there."""
        return _read(self._file(seed, name))

    def seeds(self) -> list[int]:
        """Those that have a folder."""
        names = (one.name.removeprefix("seed_") for one in self.folder.glob("seed_*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def require_one_start(self, start: Mapping[str, str]) -> None:
        """Refuse to add rows that begin with other networks than those that are there.

        Args:
            start: Digests of the pre-trained policy's weights (`start`) and of stage 1 of the
                action VAE (`prior`), of those that the row begins with.
        """
        rows = [file for seed in self.seeds() for file in self._of(seed).glob("*.json")]
        for file in sorted(rows):
            row = _read(file)
            for key, mine in start.items():
                if (theirs := row.get(key, mine)) != mine:
                    what, folder = BEGINNINGS[key]
                    raise UsageError(
                        f"{file} started from {what} {theirs}, this folder's is {mine}: copy the "
                        f"folder `{folder}` of the run that made it, or choose another folder for "
                        "the rows"
                    )

    def _file(self, seed: int, name: str) -> Path:
        return self._of(seed) / f"{name}.json"

    def _of(self, seed: int) -> Path:
        return self.folder / f"seed_{seed:03d}"


def _read(file: Path) -> dict[str, Any]:
    return read_object(file, TrainingError, "remove it, it will be made again")


def digest_of(run: Path) -> str:
    """Of a network's weights, by which machines can tell that they start from the same ones."""
    return file_sha256(resolve_checkpoint(run) / "model.safetensors")[:16]


def pack(trials: Sequence[Trial]) -> dict[str, Any]:
    """Rollouts from consecutive starts as short columns."""
    return {
        "first_start": trials[0].seed,
        "success": "".join("1" if trial.success else "0" for trial in trials),
        "score": [round(trial.score, 3) for trial in trials],
        "jerk": [round(trial.jerk, 1) for trial in trials],
        "refused": [trial.refused for trial in trials],
        "duration": [round(trial.duration, 2) for trial in trials],
    }


def unpack(packed: Mapping[str, Any]) -> list[Trial]:
    """Rollouts of a row, with what the tables need of them."""
    columns = (packed[name] for name in KEPT)
    return [
        Trial(
            seed=packed["first_start"] + index,
            success=success == "1",
            score=score,
            jerk=jerk,
            refused=refused,
            duration=duration,
        )
        for index, (success, score, jerk, refused, duration) in enumerate(
            zip(*columns, strict=True)
        )
    ]
