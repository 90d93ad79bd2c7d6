"""``ate convert``: recorded bags to HDF5 episodes on fixed ticks.

Every ``episode_NNNNNN`` folder becomes ``episode_NNNNNN.hdf5``. A bag that cannot become a sound
episode is rejected with its reason and the others go on; the exit code is then 1. The same bag
and options give the same bytes, and a finished file is not made twice.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ate_core.episode_outcome import DISCARDED, OUTCOME_FILE, PENDING, SUCCESS
from ate_core.errors import AteError, EpisodeError, UsageError
from ate_core.observation import ObservationBuilder, StreamLimits, find_stale
from ate_core.resample import NANOSECONDS, tick_grid, tick_period_ns
from ate_core.streams import StreamSpec
from training.configs.output_folder import make_folder
from training.data.bag_reader import BagEpisode, bag_file, read_episode_bag
from training.data.episode_file import FORMAT, Episode, read_source_hash, write_episode

_FOLDER = re.compile(r"episode_\d{6}$")


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Convert recorded bags to HDF5 episodes for training."""

    bags: Path
    """Folder with the recorder's episode_NNNNNN folders, or one such folder."""
    output: Path
    """Folder for the episode_NNNNNN.hdf5 files."""
    jobs: int = 1
    """Episodes converted at the same time."""
    overwrite: bool = False
    """Convert again what is already there and up to date."""
    keep_failures: bool = False
    """Convert episodes that ended as a failure or were interrupted, too."""
    min_seconds: float = 1.0
    """Shortest episode kept [s]."""
    max_state_age: float = 0.2
    """Largest age of an arm, gripper or wrench sample at a tick [s]."""
    max_image_age: float = 0.5
    """Largest age of an image at a tick [s]."""
    max_object_age: float = 0.5
    """Largest age of the object poses at a tick [s]."""
    max_late_start: float = 2.0
    """Longest wait for the last stream to begin, from the start of the episode [s]."""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"--jobs {self.jobs} is below 1; give the number of processes")

    def limits(self) -> StreamLimits:
        """Return the ages as the sampler's limits."""
        return StreamLimits(
            joints=self.max_state_age, image=self.max_image_age, poses=self.max_object_age
        )

    def options_text(self) -> str:
        """Return everything that decides the bytes of an episode, as text."""
        return (
            f"format {FORMAT}; {self.limits()}; keep_failures {self.keep_failures}; "
            f"min {self.min_seconds}; late {self.max_late_start}"
        )


@dataclass(frozen=True, kw_only=True)
class EpisodeReport:
    """What became of one bag."""

    name: str
    """Folder name of the bag."""
    result: Literal["converted", "up to date", "rejected"]
    """What was done."""
    reason: str = ""
    """Why it was rejected."""
    ticks: int = 0
    """Ticks written."""
    seconds: float = 0.0
    """Duration on ticks [s]."""
    streams: str = ""
    """Rates and gaps in one line."""


def convert(config: ConvertConfig) -> int:
    """Convert every bag, print a table, and return 1 when any was rejected."""
    folders = find_bags(config.bags.resolve())
    make_folder(config.output)
    console = Console()
    reports: list[EpisodeReport] = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("converting", total=len(folders))
        for report in _run(folders, config):
            reports.append(report)
            progress.advance(task)
    reports.sort(key=lambda report: report.name)
    _print_table(console, reports)
    return 1 if any(report.result == "rejected" for report in reports) else 0


def find_bags(folder: Path) -> list[Path]:
    """Return the episode folders under a folder, or the folder itself when it is one.

    Raises:
        EpisodeError: there is none.
    """
    if _FOLDER.match(folder.name) and list(folder.glob("*.mcap")):
        return [folder]
    found = sorted(path for path in folder.glob("episode_*") if _FOLDER.match(path.name))
    if not found:
        raise EpisodeError(
            f"{folder} holds no episode_NNNNNN folders; record some, or name their folder"
        )
    return found


def convert_episode(folder: Path, config: ConvertConfig) -> EpisodeReport:
    """Convert one bag; a bag that is no sound episode is reported, not raised."""
    target = config.output / f"{folder.name}.hdf5"
    try:
        digest = _source_hash(bag_file(folder), config)
        if not config.overwrite and target.exists() and read_source_hash(target) == digest:
            return EpisodeReport(name=folder.name, result="up to date")
        episode = build_episode(read_episode_bag(folder), config, folder.name, digest)
        write_episode(target, episode)
    except AteError as error:
        return EpisodeReport(name=folder.name, result="rejected", reason=str(error))
    return EpisodeReport(
        name=folder.name,
        result="converted",
        ticks=len(episode),
        seconds=len(episode) / episode.cell.tick_rate,
        streams=_stream_line(episode),
    )


def build_episode(
    bag: BagEpisode, config: ConvertConfig, source: str = "", source_sha256: str = ""
) -> Episode:
    """Put a recorded episode on ticks.

    Raises:
        EpisodeError: it ended badly, lacks a stream, has one too old at a tick, or is too short.
    """
    _require_outcome(bag, config)
    builder = ObservationBuilder(bag.cell)
    needed = _needed_streams(builder, bag)
    ticks = episode_ticks(bag, needed, config)
    refusal = find_stale(bag.series, needed, ticks, config.limits())
    if refusal is not None:
        raise EpisodeError(str(refusal))
    period_ns = tick_period_ns(bag.cell.tick_rate)
    environment = builder.environment(bag.series, ticks)
    names = tuple(bag.scene.get("objects", ()))
    if environment is not None and names and len(names) != environment.shape[1]:
        raise EpisodeError(
            f"{environment.shape[1]} object poses but {len(names)} names in /scene/info; "
            "the scene's publisher must give both from one task"
        )
    return Episode(
        state=builder.state(bag.series, ticks),
        velocity=builder.velocity(bag.series, ticks),
        wrench=builder.wrench(bag.series, ticks),
        action=builder.action(bag.series, ticks, period_ns),
        timestamps_ns=ticks,
        environment=environment,
        images={
            key: [bag.images[key][i] for i in index]
            for key, index in builder.image_index(bag.series, ticks).items()
        },
        cell=bag.cell,
        task=str(bag.info.get("task") or bag.scene.get("task", "")),
        instruction=str(bag.info.get("instruction", "")),
        operator=str(bag.info.get("operator", "")),
        seed=_seed(bag),
        object_names=names,
        outcome=str(bag.outcome["outcome"]),
        source=source,
        source_sha256=source_sha256,
        streams=bag.outcome.get("streams", {}),
    )


def episode_ticks(
    bag: BagEpisode, needed: list[StreamSpec], config: ConvertConfig
) -> NDArray[np.int64]:
    """Return the ticks of an episode, shape (T,) [ns].

    The first is the moment at which every needed stream has a sample. The last has one period
    left before the end of the measured streams, where its action is in force.
    """
    missing = [spec for spec in needed if spec.name not in bag.series]
    if missing:
        raise EpisodeError(f"no message on {missing[0].topic}, which the episode needs")
    latest = max(needed, key=lambda spec: int(bag.series[spec.name].stamps_ns[0]))
    start_ns = int(bag.series[latest.name].stamps_ns[0])
    late = (start_ns - int(bag.info["start_ns"])) / NANOSECONDS
    if late > config.max_late_start:
        bound = f"bound {config.max_late_start:.1f} s"
        raise EpisodeError(f"{latest.topic} begins {late:.1f} s after the episode ({bound})")
    end_ns = max(int(bag.series[spec.name].stamps_ns[-1]) for spec in needed)
    ticks = tick_grid(start_ns, end_ns, tick_period_ns(bag.cell.tick_rate))[:-1]
    seconds = len(ticks) / bag.cell.tick_rate
    if seconds < config.min_seconds or not len(ticks):
        raise EpisodeError(f"too short: {seconds:.2f} s (bound {config.min_seconds:.2f} s)")
    return ticks


def _require_outcome(bag: BagEpisode, config: ConvertConfig) -> None:
    outcome = bag.outcome.get("outcome")
    if outcome == PENDING:
        raise EpisodeError("nobody has judged it: keep it with `ate episode label`, or discard it")
    if outcome == SUCCESS or (config.keep_failures and outcome != DISCARDED):
        return
    reason = f" ({bag.outcome['reason']})" if bag.outcome.get("reason") else ""
    raise EpisodeError(f"outcome is {outcome}{reason}; --keep-failures keeps such episodes")


def _seed(bag: BagEpisode) -> int:
    """Return the seed given to the recorder, else that of the simulated scene, else -1."""
    given = int(bag.info.get("seed", -1))
    of_scene = bag.scene.get("seed")
    return of_scene if given < 0 and isinstance(of_scene, int) else given


def _needed_streams(builder: ObservationBuilder, bag: BagEpisode) -> list[StreamSpec]:
    """Return what the recorder required, and every camera and the objects where recorded."""
    required = set(bag.info.get("required", []))
    optional = {*builder.cameras, "objects"} & set(bag.series)
    always = {f"{side}_{part}_state" for side in builder.sides for part in ("arm", "gripper")}
    always |= {f"{side}_wrench" for side in builder.sides}
    wanted = required | optional | always
    return [spec for spec in builder.streams.values() if spec.name in wanted]


def _run(folders: list[Path], config: ConvertConfig) -> Iterator[EpisodeReport]:
    if config.jobs == 1:
        yield from (convert_episode(folder, config) for folder in folders)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(config.jobs, mp_context=context) as pool:
        futures = [pool.submit(convert_episode, folder, config) for folder in folders]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise EpisodeError(
                f"a converter process was killed, perhaps for memory; use fewer than "
                f"--jobs {config.jobs}"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _source_hash(file: Path, config: ConvertConfig) -> str:
    digest = hashlib.sha256(config.options_text().encode())
    with file.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    decision = file.parent / OUTCOME_FILE
    if decision.is_file():
        digest.update(decision.read_bytes())
    return digest.hexdigest()


def _stream_line(episode: Episode) -> str:
    """The worst gap; the file keeps rate and gaps of every stream."""
    gaps = {name: values["longest_gap_ms"] for name, values in episode.streams.items()}
    broken = [name for name, values in episode.streams.items() if values["gaps"]]
    if not broken:
        return f"{len(gaps)} streams without gaps"
    worst = max(broken, key=lambda name: gaps[name])
    return f"gaps in {len(broken)} of {len(gaps)} streams, longest {gaps[worst]:.0f} ms in {worst}"


def _print_table(console: Console, reports: list[EpisodeReport]) -> None:
    table = Table("episode", "result", "ticks", "seconds", "streams, or reason")
    for report in reports:
        colour = "red" if report.result == "rejected" else "green"
        table.add_row(
            report.name,
            f"[{colour}]{report.result}[/]",
            str(report.ticks or ""),
            f"{report.seconds:.1f}" if report.seconds else "",
            report.reason or report.streams,
        )
    console.print(table)
    counts = {
        result: sum(report.result == result for report in reports)
        for result in ("converted", "up to date", "rejected")
    }
    console.print(", ".join(f"{count} {result}" for result, count in counts.items()))
