"""``ate episodes``: look after a folder of episodes; every change can be undone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ate_core.episode_folders import SUFFIX
from ate_core.episode_outcome import SUCCESS
from ate_core.errors import AteError, UsageError
from training.audit.gate import Gated
from training.episodes import operations
from training.episodes.card import card_text, describe, list_set
from training.episodes.copying import export_set
from training.episodes.drift import compare_sets
from training.episodes.drift import table as drift_table
from training.episodes.editor import Editor, editing
from training.episodes.episode_set import EpisodeSet, Kind, open_set
from training.episodes.journal import Edit, read_journal
from training.episodes.overview import facts, summaries, table
from training.export.report import print_reports


@dataclass(frozen=True, kw_only=True)
class _OfASet:
    """What every action on a set needs."""

    folder: tyro.conf.Positional[Path]
    """Folder of the episodes."""
    kind: Kind | None = None
    """hdf5 or bags, where the folder holds both."""


@dataclass(frozen=True, kw_only=True)
class _OfEpisodes(_OfASet):
    episodes: tyro.conf.Positional[tuple[int, ...]]
    """Numbers of the episodes."""


@dataclass(frozen=True, kw_only=True)
class List(_OfASet):
    """List the episodes, and those that are set aside."""

    outcome: str | None = None
    """Only those with this outcome."""
    json: bool = False
    """Print JSON instead of a table."""


@dataclass(frozen=True, kw_only=True)
class Show(_OfASet):
    """Everything that is known of one episode."""

    episode: tyro.conf.Positional[int]
    """Number of the episode."""
    json: bool = False
    """Print JSON instead of lines."""


@dataclass(frozen=True, kw_only=True)
class Delete(_OfEpisodes):
    """Set episodes aside; `restore` or `undo` brings them back."""


@dataclass(frozen=True, kw_only=True)
class Restore(_OfEpisodes):
    """Bring episodes back that were set aside."""


@dataclass(frozen=True, kw_only=True)
class Label(_OfEpisodes):
    """Judge episodes anew."""

    text: str
    """success, failure, or a few words."""


@dataclass(frozen=True, kw_only=True)
class Split(_OfASet):
    """Write the parts of an episode as new episodes, and set it aside."""

    episode: tyro.conf.Positional[int]
    """Number of the episode."""
    at: tuple[int, ...]
    """Ticks with which new parts begin."""


@dataclass(frozen=True, kw_only=True)
class Merge(_OfEpisodes):
    """Write episodes that follow each other as a new one, and set them aside."""


@dataclass(frozen=True, kw_only=True)
class Export(Gated, _OfASet):
    """Copy episodes into a new folder, numbered from 0, with a card that says what is in it."""

    output: Path
    """Folder to make."""
    outcome: str = SUCCESS
    """Only those with this outcome; empty: all."""
    min_score: float = 0.0
    """Leave out episodes whose audit has a lower score, 0 to 100."""
    exclude: tuple[str, ...] = ()
    """Leave out these episodes (episode_000003), and those in which one of these rules of the
    audit finds something (idle)."""
    license: str = ""
    """Under which the set is given away, for instance CC-BY-4.0; written into the card."""
    overwrite: bool = False
    """Replace a folder that is there."""

    def __post_init__(self) -> None:
        """Refuse a gate that cannot be meant."""
        _ = self.gate


@dataclass(frozen=True, kw_only=True)
class Card(_OfASet):
    """Say what is in a set: counts, hours, tasks, operators, cameras, statistics, audit, hash."""

    license: str = ""
    """Under which the set is given away."""
    json: bool = False
    """Print JSON instead of Markdown."""


@dataclass(frozen=True, kw_only=True)
class Drift(_OfASet):
    """Compare the successful episodes of two sets, number by number; 1 where they drifted."""

    other: tyro.conf.Positional[Path]
    """Folder of the other set."""
    json: bool = False
    """Print JSON instead of a table."""


@dataclass(frozen=True, kw_only=True)
class Undo(_OfASet):
    """Take the newest edit back that is in force."""


@dataclass(frozen=True, kw_only=True)
class Log(_OfASet):
    """List the edits of a set."""


Action = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Delete, tyro.conf.subcommand("delete")]
    | Annotated[Restore, tyro.conf.subcommand("restore")]
    | Annotated[Label, tyro.conf.subcommand("label")]
    | Annotated[Split, tyro.conf.subcommand("split")]
    | Annotated[Merge, tyro.conf.subcommand("merge")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Card, tyro.conf.subcommand("card")]
    | Annotated[Drift, tyro.conf.subcommand("drift")]
    | Annotated[Undo, tyro.conf.subcommand("undo")]
    | Annotated[Log, tyro.conf.subcommand("log")]
)


def episodes(config: Action) -> int:
    """Do one thing; an edit that cannot be done leaves the set as it was."""
    found = open_set(config.folder.resolve(), config.kind)
    if isinstance(config, List):
        return _list(found, config)
    if isinstance(config, Show):
        return _show(found, config)
    if isinstance(config, Log):
        return _log(found)
    if isinstance(config, Export | Card | Drift):
        return _on_converted(found, config)
    with editing(found) as editor:
        edit = _edit(editor, config)
    print(f"edit {edit.number}: {edit.words}")
    if found.kind == "hdf5" and edit.brings_back(SUFFIX):
        print(
            "as it was converted: run `ate convert` again before you train, a label that its bag "
            "was given since counts only then"
        )
    print(f"take it back with: ate episodes undo {config.folder}")
    return 0


def _edit(editor: Editor, config: Action) -> Edit:
    match config:
        case Delete():
            return operations.delete(editor, config.episodes)
        case Restore():
            return operations.restore(editor, config.episodes)
        case Label():
            return operations.label(editor, config.episodes, config.text)
        case Split():
            return operations.split(editor, config.episode, config.at)
        case Merge():
            return operations.merge(editor, config.episodes)
        case _:
            return editor.undo()


def _list(found: EpisodeSet, config: List) -> int:
    _take_back_what_was_cut(found)
    rows = summaries(found)
    if config.outcome is not None:
        rows = [row for row in rows if row.outcome == config.outcome]
    if config.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print(table(found, rows))
    return 0


def _show(found: EpisodeSet, config: Show) -> int:
    _take_back_what_was_cut(found)
    known = facts(found, config.episode)
    if config.json:
        print(json.dumps(known, indent=2))
    else:
        width = max(map(len, known))
        for name, value in known.items():
            print(f"{name:{width}}  {value if isinstance(value, str) else json.dumps(value)}")
    return 0


def _log(found: EpisodeSet) -> int:
    _take_back_what_was_cut(found)
    journal = read_journal(found.folder)
    ends = dict(journal.ends)
    undone = {edit.undoes for edit in journal.done()}
    for edit in journal.edits:
        end = "undone" if edit.number in undone else ends.get(edit.number, "not finished")
        print(f"{edit.number:4}  {edit.when}  {edit.who}  {edit.words}  ({end})")
    print(f"{len(journal.edits)} edits of {found.folder}")
    return 0


def _on_converted(found: EpisodeSet, config: Export | Card | Drift) -> int:
    if found.kind != "hdf5":
        raise UsageError(
            f"{found.folder} holds bags: convert them, then give the folder of the episodes"
        )
    match config:
        case Export():
            reports = export_set(
                found.folder,
                config.output,
                gate=config.gate,
                outcome=config.outcome,
                license_=config.license,
                overwrite=config.overwrite,
            )
            return print_reports(reports, config.output)
        case Card():
            card = describe(list_set(found.folder), found.folder.name, config.license)
            print(json.dumps(card, indent=1) if config.json else card_text(card), end="")
            return 0
        case _:
            return _drift(found, config)


def _drift(found: EpisodeSet, config: Drift) -> int:
    other = open_set(config.other.resolve(), "hdf5")
    first, second = (
        [one.summary for one in list_set(one_set.folder) if one.outcome == SUCCESS]
        for one_set in (found, other)
    )
    drift = compare_sets(first, second)
    if config.json:
        columns = [{**asdict(one), "drifted": one.drifted} for one in drift.columns]
        print(
            json.dumps({**asdict(drift), "verdict": drift.verdict, "columns": columns}, indent=1)
        )
    else:
        names = {"first": str(config.folder), "second": str(config.other)}
        print(drift_table(drift, names))
    return int(drift.verdict == "drift")


def _take_back_what_was_cut(found: EpisodeSet) -> None:
    """A killed edit is taken back where one may write; elsewhere it is told."""
    left = read_journal(found.folder).unfinished()
    if left is None:
        return
    try:
        with editing(found):
            print(f"edit {left.number} ({left.words}) was cut short and is taken back")
    except AteError as error:
        print(f"edit {left.number} ({left.words}) is not finished: {error}")
