"""``ate convert``: recorded bags to episodes on fixed ticks, in HDF5 or as a LeRobot data set.

Every ``episode_NNNNNN`` folder becomes ``episode_NNNNNN.hdf5``. A bag that cannot become a sound
episode is rejected with its reason and the others go on; the exit code is then 1. The same bag
and options give the same bytes, and a finished file is not made twice.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ate_core.disk_refusals import is_by_disk
from ate_core.episode_folders import SUFFIX
from ate_core.episode_outcome import OUTCOME_FILE, SUCCESS, read_outcome
from ate_core.errors import AteError, EpisodeError, UsageError
from training.audit.judge import audit_episode
from training.audit.stored import stored_audit
from training.configs.convert import ConvertConfig
from training.configs.output_folder import make_folder, only_writer
from training.data.bag_reader import bag_file, read_episode_bag, read_recording
from training.data.build_episode import build_episode, require_outcome
from training.data.disk_room import refusal
from training.data.episode_file import Episode
from training.data.set_files import label_file, require_readable
from training.data.stream_counts import disagreements
from training.episodes.journal import Journal, read_journal
from training.episodes.judged_anew import label_parts, parts_of, set_parts_aside
from training.export.copies import remark
from training.export.output_formats import OutputFormat, output_of
from training.reporting.terminal import coloured, terminal
from training.tasks.engine import describe

NAMED = 5
"""Episodes without a bag that are named."""
_FOLDER = re.compile(r"episode_\d{6}$")


@dataclass(frozen=True, kw_only=True)
class EpisodeReport:
    """What became of one bag."""

    name: str
    """Folder name of the bag."""
    result: Literal["converted", "up to date", "set aside", "excluded", "rejected"]
    """What was done; excluded: by `--min-score` or `--exclude`, or its bag was discarded."""
    reason: str = ""
    """Why it was rejected or excluded."""
    ticks: int = 0
    """Ticks written."""
    seconds: float = 0.0
    """Duration on ticks [s]."""
    streams: str = ""
    """Rates and gaps in one line."""
    disk_refused: bool = False
    """Whether it was rejected because a disk did not take it, or give it."""


def convert(config: ConvertConfig) -> int:
    """Convert every bag, print a table, and return 1 when any was rejected."""
    folders, discarded = find_bags(config.bags.resolve())
    config = replace(config, output=config.output.resolve())  # workers may start elsewhere
    config.gate.require_known([folder.name for folder in folders], config.bags)
    make_folder(config.output)
    console = terminal()
    reports: list[EpisodeReport] = []
    target = output_of(config)
    told = f"another `ate convert` writes to {config.output}"
    with only_writer(config.output, told), target.held():
        _refuse_others(folders, config, target)
        gone = [_name(folder) for folder in discarded if _is_own(folder, config, target)]
        is_one = folders == [config.bags.resolve()]
        listed, drop = [*(one.name for one in folders), *gone], config.drop_missing
        kept = target.kept(listed, config.bags, is_one=is_one, drop=drop)
        if not is_one:
            target.remember_source(config.bags)
        others = sorted({*target.names()} - {*listed, *kept})
        target.require_room({folder.name: _bag_path(folder) for folder in folders})
        try:
            with Progress(console=console, transient=True) as progress:
                task = progress.add_task("converting", total=len(folders))
                for report in _run(folders, config):
                    reports.append(report)
                    progress.advance(task)
            bags = {folder.name: folder for folder in folders}
            journal = functools.cache(lambda: read_journal(config.output))
            reports = [_followed(one, bags[one.name], config, journal) for one in reports]
            reports += _dropped(discarded, config, journal)
            reports = _finished(reports, target, kept)
            held = {*target.names()}
            reports += [_left(name, config) for name in others if name not in held]
        finally:
            reports.sort(key=lambda report: report.name)
            _print_table(console, reports)
            _tell_others(console, config.bags.resolve())
            held = {*target.names()}
            homeless = [name for name in others if name in held]
            if homeless and not is_one:
                _tell_homeless(console, homeless, config)
    if not folders:
        raise EpisodeError(
            f"{config.bags} holds discarded episodes only: record some, or bring one back with "
            f"`ate episodes restore {config.bags}` and its number"
        )
    return 1 if any(report.result == "rejected" for report in reports) else 0


def _refuse_others(folders: list[Path], config: ConvertConfig, target: OutputFormat) -> None:
    """Refuse to replace, or to pass by, what the output holds of other recordings.

    Raises:
        UsageError: naming the first of it.
    """
    for folder in folders:
        own = read_recording(folder)
        others = {} if own is None else target.of_others(folder.name, own, config.farthest_start)
        for file, when in others.items():
            is_aside = file.name.endswith(SUFFIX)
            if is_aside or not config.overwrite:
                raise UsageError(
                    f"{file} is of another recording ({when}, this {folder.name} {own}): choose "
                    f"another --output{'' if is_aside else ', or --overwrite'}"
                )


def find_bags(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the episode folders under a folder, or the folder itself when it is one.

    Returns:
        The folders, and those of discarded episodes.

    Raises:
        EpisodeError: there is none, or the folder cannot be read.
    """
    require_readable(folder)
    if _FOLDER.match(folder.name) and list(folder.glob("*.mcap")):
        return [folder], []
    found = sorted(path for path in folder.glob("episode_*") if _FOLDER.match(path.name))
    aside = [path for path in sorted(folder.glob(f"episode_*{SUFFIX}")) if _is_gone(path, found)]
    if not found and not aside:
        below = bags_below(folder)
        hint = f" (bags lie in {', '.join(below)})" if below else ""
        raise EpisodeError(
            f"{folder} holds no episode_NNNNNN folders; record some, or name their folder{hint}"
        )
    return found, aside


def _is_gone(aside: Path, found: list[Path]) -> bool:
    """Whether a folder is that of a discarded episode that has no other."""
    name = aside.name.removesuffix(SUFFIX)
    return bool(_FOLDER.match(name)) and aside.with_name(name) not in found


def bags_below(folder: Path) -> list[str]:
    """Return the names of subfolders, at any depth, that hold bags of their own.

    It is a hint: where the disk refuses there is none, and what it refused before is told.
    """
    try:
        bags = [file.parent for file in folder.rglob("episode_*/*.mcap")]
    except OSError:
        return []
    parents = {bag.parent for bag in bags if _FOLDER.match(bag.name)} - {folder}
    return sorted(str(parent.relative_to(folder)) for parent in parents)


def _bag_path(folder: Path) -> Path:
    """Where the bag of an episode lies; its folder where nobody can tell, which is told later."""
    try:
        return bag_file(folder)
    except (EpisodeError, OSError):
        return folder


def convert_episode(folder: Path, config: ConvertConfig) -> EpisodeReport:
    """Convert one bag; whatever stands in the way is reported, not raised."""
    if (config.output / f"{folder.name}.hdf5{SUFFIX}").exists():
        return EpisodeReport(name=folder.name, result="set aside", reason=_doubt(folder, config))
    try:
        return _convert(folder, config)
    except AteError as error:  # the episode is to blame, not the disk
        return _refused(folder, str(error), config)
    except Exception as error:  # any: one bad episode never ends a batch
        return EpisodeReport(
            name=folder.name,
            result="rejected",
            reason=_reason(error, config.output),
            disk_refused=is_by_disk(error),
        )


def _doubt(folder: Path, config: ConvertConfig) -> str:
    """Why an episode that was set aside must not come back as it is; empty text without one."""
    try:
        label = read_outcome(folder).get("outcome", SUCCESS)
    except EpisodeError as error:
        return str(error)
    if label == SUCCESS or config.keep_failures:
        return ""
    return f"its bag is labelled {label}: convert again once it is restored"


def _refused(folder: Path, reason: str, config: ConvertConfig) -> EpisodeReport:
    """Reject an episode; nobody trains on what an earlier conversion made of it, either."""
    try:
        note = _put_away(folder, config, output_of(config))
    except OSError as error:
        note = f" (its earlier file could not be moved: {error.strerror})"
    return EpisodeReport(name=folder.name, result="rejected", reason=reason + note)


def _write(folder: Path, config: ConvertConfig, target: OutputFormat, episode: Episode) -> None:
    """Write an episode; with `--overwrite` the label of another recording goes.

    Raises:
        EpisodeError: it would replace one of another recording, which nobody saw before as the
            disk did not give it.
    """
    own, label = read_recording(folder), label_file(config.output / folder.name)
    if own is None:
        raise EpisodeError("the disk does not give its first message any more: convert again")
    others = target.of_others(folder.name, own, config.farthest_start)
    if others and not config.overwrite:
        raise EpisodeError(
            f"{next(iter(others))} is of another recording: choose another --output, or "
            "--overwrite"
        )
    target.write(folder.name, episode, episode.source_sha256)
    if label in others:
        label.unlink(missing_ok=True)


def _put_away(folder: Path, config: ConvertConfig, target: OutputFormat) -> str:
    """Take what an earlier conversion made of an episode out of the output; returns what to tell.

    What is of another recording stays.
    """
    moved = target.put_away(_name(folder)) if _is_own(folder, config, target) else ""
    return f" (its earlier file is now {moved})" if moved else ""


def _is_own(folder: Path, config: ConvertConfig, target: OutputFormat) -> bool:
    """Whether what the output holds of an episode is of this bag; one that cannot be read is mute.

    Args:
        folder: Of the bag, set aside or not.
        config: How far its first tick may be from its start.
        target: The output.
    """
    own = read_recording(folder)
    return own is not None and not target.of_others(_name(folder), own, config.farthest_start)


def _name(folder: Path) -> str:
    """Of an episode, set aside or not."""
    return folder.name.removesuffix(SUFFIX)


def _dropped(
    discarded: list[Path], config: ConvertConfig, journal: Callable[[], Journal]
) -> Iterator[EpisodeReport]:
    """Take what was made of discarded bags out of the output; tell of those that it held."""
    target = output_of(config)
    for folder in discarded:
        if not _is_own(folder, config, target):
            continue
        name = _name(folder)
        is_there = target.holds(name)
        try:
            note = _put_away(folder, config, target)
            parts = set_parts_aside(journal(), name, decided_ns=None)
        except (AteError, OSError) as error:
            reason = f"its bag was discarded, but what was made of it stays: {error}"
            yield EpisodeReport(name=name, result="rejected", reason=reason)
            continue
        if is_there or parts:
            reason = "; ".join(filter(None, [f"its bag was discarded{note}", parts]))
            yield EpisodeReport(name=name, result="excluded", reason=reason)


def _followed(
    report: EpisodeReport, folder: Path, config: ConvertConfig, journal: Callable[[], Journal]
) -> EpisodeReport:
    """Let what edits made of an episode follow what was decided of its bag since.

    Args:
        report: What became of the bag.
        folder: Of the bag.
        config: Of the conversion.
        journal: Reads the edits of the output, once for all episodes.
    """
    name, refusal = folder.name, ""
    try:
        if not parts_of(journal(), name) or not _is_own(folder, config, output_of(config)):
            return report
        decided = read_outcome(folder)
        try:
            require_outcome(decided, config)
        except EpisodeError as error:
            refusal = str(error)
        if refusal:
            told = set_parts_aside(journal(), name, decided.get("decided_ns")) if decided else ""
        else:
            when_ns = int(decided.get("decided_ns") or 0)
            told = label_parts(journal(), name, str(decided["outcome"]), when_ns)
    except (AteError, OSError) as error:
        refusal = told = f"what edits made of it stays as it was: {error}"
    if not told:
        return report
    own = "" if report.result == "set aside" else report.reason  # its doubt is the refusal
    reason = "; ".join(dict.fromkeys(filter(None, [own or refusal, told])))
    return replace(report, result="rejected" if refusal else report.result, reason=reason)


def _convert(folder: Path, config: ConvertConfig) -> EpisodeReport:
    target, gate, name = output_of(config), config.gate, folder.name
    if reason := gate.names(name):
        return _excluded(folder, config, target, reason)
    digest = _source_hash(bag_file(folder), config)
    is_there = not config.overwrite and target.has(name, digest)
    audit = target.audit(name) if is_there else None
    if is_there and (audit is not None or not gate.needs_audit):
        if audit is not None and (reason := gate.refusal(audit)):
            return _excluded(folder, config, target, reason)
        return EpisodeReport(name=name, result="up to date")
    bag = read_episode_bag(folder)
    episode = build_episode(bag, config, name, digest)
    if config.audits:
        audit = stored_audit(audit_episode(name, bag))
        if reason := gate.refusal(audit):
            return _excluded(folder, config, target, reason)
        episode = replace(episode, audit=audit.as_dict())
    if not is_there:
        _write(folder, config, target, episode)
    unjudged = ", ".join(gate.unjudged(audit)) if audit is not None else ""
    return EpisodeReport(
        name=name,
        result="up to date" if is_there else "converted",
        ticks=len(episode),
        seconds=len(episode) / episode.cell.tick_rate,
        streams=_stream_line(episode, disagreements(bag))
        + (f"; not judged for lack of data or motion: {unjudged}" if unjudged else ""),
    )


def _left(name: str, config: ConvertConfig) -> EpisodeReport:
    reason = f"{config.bags} does not hold its bag any more: it has left the set"
    return EpisodeReport(name=name, result="excluded", reason=reason)


def _excluded(
    folder: Path, config: ConvertConfig, target: OutputFormat, reason: str
) -> EpisodeReport:
    """Leave an episode out; what an earlier conversion made of it leaves the output, too."""
    note = _put_away(folder, config, target)
    return EpisodeReport(name=folder.name, result="excluded", reason=reason + note)


def _finished(
    reports: list[EpisodeReport], target: OutputFormat, kept: list[str]
) -> list[EpisodeReport]:
    """Complete the output beside what is kept; what it could not take is rejected after all."""
    left_out = ("rejected", "excluded")
    finished = target.finish(
        [report.name for report in reports if report.result not in left_out],
        kept,
        disk_refused=any(report.disk_refused for report in reports),
    )
    return [
        EpisodeReport(name=report.name, result="rejected", reason=finished.refused[report.name])
        if report.name in finished.refused
        else replace(report, streams=remark(report.streams, finished.notes.get(report.name, "")))
        for report in reports
    ]


def _run(folders: list[Path], config: ConvertConfig) -> Iterator[EpisodeReport]:
    """Convert bags in processes; the death of one costs the episode it held."""
    for done in config.work.run(functools.partial(convert_episode, config=config), folders):
        if done.result is not None:
            yield done.result
        else:
            yield EpisodeReport(name=done.item.name, result="rejected", reason=done.failure)


def _reason(error: Exception, output: Path) -> str:
    """Say in one line why an episode is rejected, with what helps."""
    if isinstance(error, MemoryError):
        return "not enough memory: use fewer --jobs"
    if isinstance(error, OSError):
        return refusal(error, output)
    return f"{describe(error)}: unforeseen; report it together with the bag"


def _source_hash(file: Path, config: ConvertConfig) -> str:
    digest = hashlib.sha256(config.options_text().encode())
    with file.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    decision = file.parent / OUTCOME_FILE
    if decision.is_file():
        digest.update(decision.read_bytes())
    return digest.hexdigest()


def _stream_line(episode: Episode, disagreements: Mapping[str, tuple[int, int]]) -> str:
    """What the recorder counted otherwise, and the worst gap; the file keeps those of all."""
    if disagreements:
        told = [
            f"{name} has {held} messages in the bag, {recorded} by the recorder"
            for name, (held, recorded) in disagreements.items()
        ]
        return f"recorder and bag disagree: {'; '.join(told)}"
    gaps = {name: values["longest_gap_ms"] for name, values in episode.streams.items()}
    broken = [name for name, values in episode.streams.items() if values["gaps"]]
    if not broken:
        return f"{len(gaps)} streams without gaps"
    worst = max(broken, key=lambda name: gaps[name])
    return f"gaps in {len(broken)} of {len(gaps)} streams, longest {gaps[worst]:.0f} ms in {worst}"


def _print_table(console: Console, reports: list[EpisodeReport]) -> None:
    table = Table("episode", "result", "ticks", "seconds", "streams, or reason")
    for report in reports:
        colour = {"rejected": "red", "excluded": "yellow"}.get(report.result, "green")
        table.add_row(
            report.name,
            coloured(report.result, colour),
            str(report.ticks or ""),
            f"{report.seconds:.1f}" if report.seconds else "",
            report.reason or report.streams,
        )
    console.print(table)
    counts = {
        result: sum(report.result == result for report in reports)
        for result in ("converted", "up to date", "rejected", "set aside", "excluded")
    }
    said = [f"{n} {what}" for what, n in counts.items() if n or what != "excluded"]
    console.print(", ".join(said))


def _tell_others(console: Console, bags: Path) -> None:
    """Name the subfolders whose bags were not looked at: their numbers are those of others."""
    if below := bags_below(bags):
        console.print(
            f"not converted, as they lie in subfolders: the bags of {', '.join(below)}; give each "
            "subfolder as --bags, with an --output of its own",
            markup=False,
        )


def _tell_homeless(console: Console, names: list[str], config: ConvertConfig) -> None:
    """Name what stays in the output without a bag here, which may have been discarded."""
    more = f" and {len(names) - NAMED} more" * (len(names) > NAMED)
    console.print(
        f"kept: {', '.join(names[:NAMED])}{more}, of which {config.bags} has no bag; where they "
        f"were discarded, set them aside with `ate episodes delete {config.output}` and their "
        "numbers",
        markup=False,
    )
