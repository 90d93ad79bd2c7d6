"""One recorded episode of another robot -> one episode of ours."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.episode_outcome import SUCCESS, check_label
from ate_core.errors import EpisodeError
from ate_core.resample import tick_period_ns
from ate_core.strict import nearest, require
from training.data.commanders import NAMES
from training.data.episode_file import FORMAT, Episode, write_episode
from training.data.lerobot_index import INFO
from training.foreign import hdf5_set, lerobot_set
from training.foreign.body import foreign_cell
from training.foreign.mapping import ColumnMapping
from training.foreign.places import Origin, Place
from training.foreign.recordings import RecordedEpisode, Recordings
from training.foreign.spool import ImageSpool
from training.foreign.ticks import Ticks, make_ticks
from training.foreign.vectors import VectorMap, map_vectors, require_alike

VERSION = 2
"""Of this conversion: raised when the same recordings give other bytes."""
COMMANDERS = "commanded_by"
"""Column of sets of ours that tells who commanded each arm."""
RULES = {"joints": "interpolate", "grippers": "interpolate", "images": "hold"}
"""How rows become ticks, in the words of `ate_core.sampling`; commands as the joints."""


def open_recordings(folder: Path) -> Recordings:
    """The reader of a folder, whichever of the known kinds it is.

    Raises:
        EpisodeError: it holds nothing that is known.
    """
    if (folder / INFO).is_file():
        return lerobot_set.LeRobotSet(folder)
    if hdf5_set.find_files(folder):
        return hdf5_set.Hdf5Set(folder)
    raise EpisodeError(
        f"{folder} holds neither {INFO} (LeRobot) nor *.hdf5 (ALOHA, RoboTwin, RDT): "
        "give a folder of recordings"
    )


@dataclass(frozen=True, kw_only=True)
class Written:
    """What became of one episode."""

    result: Literal["imported", "up to date", "set aside"]
    """What was done."""
    note: str = ""
    """What to tell of it."""
    seconds: float = 0.0
    """Duration on ticks [s]."""


@dataclass(frozen=True, kw_only=True)
class Importer:
    """Everything that is the same for all episodes of a folder."""

    folder: Path
    """Of the recordings."""
    recordings: Recordings
    """They."""
    mapping: ColumnMapping
    """Whose columns are which."""
    cell: Cell
    """Whose layout they are brought into."""
    state: VectorMap
    """The measured vector."""
    action: VectorMap | None
    """The commanded vector; None: the next state."""

    def least_size(self, indices: Sequence[int]) -> int:
        """What the files of some episodes take at least, without reading a picture [byte]."""
        rate = self.cell.tick_rate
        return sum(self.recordings.least_jpegs(one, self.mapping, rate) for one in indices)

    def write(
        self, index: int, path: Path, *, overwrite: bool, is_renewed: bool = True
    ) -> Written:
        """Import one episode, unless it was set aside, or is there and up to date.

        Raises:
            EpisodeError: it is damaged, incomplete, or does not look like what the mapping says,
                or what lies in its place is another recording.
        """
        recorded = self.recordings.read(index, self.mapping, self._features)
        origin, place = self._origin(recorded), self.place(path)
        if aside := place.set_aside(origin):
            moved = "" if aside == place.aside else f": it is {aside.name}"
            note = f"not made again{moved}{place.put_away()}"
            return Written(result="set aside", note=note)
        if not overwrite:
            if place.has(origin):
                return Written(result="up to date")
            place.require_own(origin, is_renewed=is_renewed)
        episode = self._made(recorded, origin, path.parent)
        note = place.clear(origin)  # first: a label never lies beside the motion of another
        write_episode(path, episode)
        place.forget_excluded(origin)
        seconds = len(episode) / episode.cell.tick_rate
        return Written(result="imported", note=note, seconds=seconds)

    @property
    def sources(self) -> list[str]:
        """What the episodes of these recordings tell of where they are from."""
        return [f"{self.folder.name}/{name}" for name in self.recordings.names()]

    def place(self, path: Path) -> Place:
        """A file of the output, as that of an episode of these recordings."""
        return Place(path=path, set_name=self.folder.name)

    def read(self, index: int) -> Episode:
        """One episode as `write` would store it, its images in temporary files.

        Raises:
            EpisodeError: see `write`.
        """
        recorded = self.recordings.read(index, self.mapping, self._features)
        return self._made(recorded, self._origin(recorded), None)

    @property
    def _features(self) -> set[str]:
        known = self.state.features | (self.action.features if self.action else set())
        # A set of ours tells who commanded: the policy's ticks are no demonstration.
        told = self.recordings.vectors.get(COMMANDERS, ())
        return known | ({COMMANDERS} if len(told) == len(self.cell.arms) else set())

    def _made(self, recorded: RecordedEpisode, origin: Origin, spool: Path | None) -> Episode:
        """A recorded episode on ticks; its images are spooled in a folder as long as it lives."""
        ticks = make_ticks(
            len(next(iter(recorded.rows.values()))),
            recorded.rate,
            self.cell.tick_rate,
            own_actions=self.action is not None,
        )
        states, actions = self._vectors(recorded.rows, ticks)
        images = {}
        for key, camera in self.mapping.cameras.items():
            frames = recorded.frames[camera.feature]
            jpegs = frames.jpegs(ticks.shown(), swap=camera.colour == "bgr")
            images[key] = ImageSpool(jpegs, spool)
        return self._episode(recorded, ticks, states, actions, images, origin)

    def _vectors(
        self, rows: Mapping[str, NDArray[np.float64]], ticks: Ticks
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """States (rows, D), and actions (T, D) in force one tick after each tick."""
        states = self.state.apply(rows)
        period_ns = tick_period_ns(self.cell.tick_rate)
        if self.action is None:
            return states, ticks.in_force(states[1:], period_ns)
        changes = self.mapping.action_is == "change"
        actions = self.action.apply(rows, changes=changes)
        if changes:
            turning = list(self.action.layout.columns("rad"))
            actions[:, turning] += states[:, turning]
        if self.action.layout == self.state.layout:
            require_alike(states, actions, self.action.layout)
        return states, ticks.in_force(actions, period_ns)

    def _episode(
        self,
        recorded: RecordedEpisode,
        ticks: Ticks,
        states: NDArray[np.float64],
        actions: NDArray[np.float64],
        images: Mapping[str, Sequence[bytes]],
        origin: Origin,
    ) -> Episode:
        count = len(ticks.times_ns)
        sizes = {key: simplejpeg.decode_jpeg_header(one[0])[:2] for key, one in images.items()}
        instruction = self.mapping.instruction or recorded.instruction
        return Episode(
            state=ticks.measured(states).astype(np.float32),
            velocity=ticks.velocity(states)[:, list(self.cell.joint_columns)].astype(np.float32),
            wrench=np.zeros((count, 6 * len(self.cell.arms)), np.float32),
            action=actions.astype(np.float32),
            timestamps_ns=ticks.times_ns,
            images=images,
            cell=foreign_cell(self.cell, self.mapping, sizes, recorded.rate),
            task=self.mapping.task or instruction,
            instruction=instruction,
            source=origin.source,
            source_sha256=origin.sha256,
            recorded=origin.recorded,
            ages=dict.fromkeys([*self._streams(), *images], ticks.ages()),
            rules=RULES,
            commanded_by=self._commanders(recorded, ticks),
            outcome=check_label(recorded.outcome or SUCCESS),
            seed=recorded.seed,
        )

    def _origin(self, recorded: RecordedEpisode) -> Origin:
        return Origin(
            source=f"{self.folder.name}/{recorded.name}",
            sha256=self._digest(recorded),
            recorded={
                feature: hashlib.sha256(rows.tobytes()).hexdigest()
                for feature, rows in recorded.rows.items()
            },
        )

    def _commanders(self, recorded: RecordedEpisode, ticks: Ticks) -> NDArray[np.uint8] | None:
        """Who gave the action of each tick (T, arms); None where the recordings do not say."""
        rows = recorded.rows.get(COMMANDERS)
        if rows is None:
            return None
        if not np.isin(rows, range(len(NAMES))).all():
            raise EpisodeError(
                f"{COMMANDERS} of {recorded.name} holds other numbers than 0 to {len(NAMES) - 1} "
                f"({', '.join(NAMES)}): export the set again, or remove the column"
            )
        period_ns = tick_period_ns(self.cell.tick_rate)
        return ticks.given(rows, period_ns).astype(np.uint8)

    def _streams(self) -> list[str]:
        parts = ("arm_state", "gripper_state")
        return [f"{side}_{part}" for side in self.cell.arms for part in parts]

    def _digest(self, recorded: RecordedEpisode) -> str:
        """Hash of all that decides the bytes of the episode."""
        ended = f"{recorded.outcome}; {recorded.seed}"
        what = (
            f"import {VERSION}, format {FORMAT}; {self.mapping}; {recorded.instruction}; {ended}"
        )
        digest = hashlib.sha256(f"{what}\n{self.cell.canonical_text()}".encode())
        for feature in sorted(recorded.rows):
            digest.update(recorded.rows[feature].tobytes())
        for path in recorded.files:
            found = path.stat()
            digest.update(_file_digest(path, found.st_size, found.st_mtime_ns))
        return digest.hexdigest()


@functools.lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, changed_ns: int) -> bytes:
    """Hash of a file, kept while it is the same: version 3 puts many episodes into one video."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def make_importer(folder: Path, mapping: ColumnMapping, cell: Cell) -> Importer:
    """Open recordings and hold a mapping against them.

    Raises:
        ContractError: the mapping names what is not there, or lacks what the cell needs.
        EpisodeError: there are no recordings.
        TrainingError: they cannot be read at all.
    """
    recordings = open_recordings(folder)
    rates = {mapping.rate, recordings.rate} - {None}
    require(
        len(rates) == 1,
        f"mapping: rate is {mapping.rate}, the recordings say {recordings.rate}: "
        f"{'leave it out' if rates else 'add their rows per second'}",
    )
    known = cell.layout.cameras
    for key, camera in mapping.cameras.items():
        where = f"mapping: cameras.{key}"
        require(
            key in known,
            f"{where} is no camera of the cell; it has {', '.join(known)}{nearest(key, known)}",
        )
        require(
            camera.feature in recordings.cameras,
            f"{where}: the recordings have no images {camera.feature!r}; they have "
            f"{', '.join(recordings.cameras) or 'none'}"
            f"{nearest(camera.feature, recordings.cameras)}",
        )
    state, action = map_vectors(mapping, recordings.vectors, cell.layout)
    return Importer(
        folder=folder,
        recordings=recordings,
        mapping=mapping,
        cell=cell,
        state=state,
        action=action,
    )
