"""`ate episode`: start, stop, judge and find episodes from a terminal."""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ate_core.episode_folders import EpisodeFolders
from ate_core.episode_outcome import SUCCESS, check_label
from ate_core.episode_trash import empty_trash, list_trash
from ate_core.errors import EpisodeError, require_timeout
from ate_core.open_bags import require_closed
from ate_recorder.episode_summary import EpisodeSummary, read_summary

TIMEOUT = 5.0
"""How long the recorder of a running cell is looked for [s]."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What may ask the recorder of a running cell."""

    cell: str | None = None
    """cell.yaml, or the name of a packaged cell, that names the recorder's topics; None: the
    packaged one."""
    timeout: float = TIMEOUT
    """How long a recorder is looked for [s]."""

    def __post_init__(self) -> None:
        require_timeout(self.timeout)


@dataclass(frozen=True, kw_only=True)
class Start(Asking):
    """Begin to record an episode."""


@dataclass(frozen=True, kw_only=True)
class Stop(Asking):
    """End the episode; it waits until it is kept or discarded."""


@dataclass(frozen=True, kw_only=True)
class Keep(Asking):
    """Keep the episode that waits, as a success."""


@dataclass(frozen=True, kw_only=True)
class Redo(Asking):
    """Set the episode aside that is recorded or waits, if any, and begin the next one."""


@dataclass(frozen=True, kw_only=True)
class SaveLast(Asking):
    """Make an episode of the last seconds (the recorder's ring_s); it waits to be judged."""


@dataclass(frozen=True, kw_only=True)
class Discard(Asking):
    """Set the episode aside that is recorded or waits, or one with a number."""

    episode: int | None = None
    """Number of an episode that is closed already."""
    bags: Path | None = None
    """Folder of the episodes; None: that of the running recorder."""


@dataclass(frozen=True, kw_only=True)
class Label(Asking):
    """Keep the episode that waits with a label, or label one with a number anew."""

    text: tyro.conf.Positional[str]
    """success, failure, or a few words."""
    episode: int | None = None
    """Number of an episode that is closed already."""
    bags: Path | None = None
    """Folder of the episodes; None: that of the running recorder."""


@dataclass(frozen=True, kw_only=True)
class List(Asking):
    """List the episodes of a folder."""

    outcome: str | None = None
    """Only those with this label: success, failure, pending, discarded, ..."""
    bags: Path | None = None
    """Folder of the episodes; None: that of the running recorder."""
    json: bool = False
    """Print JSON instead of a table."""


@dataclass(frozen=True, kw_only=True)
class Trash(Asking):
    """Show what discarded episodes take, or delete them for good."""

    do: tyro.conf.Positional[Literal["list", "empty"]] = "list"
    """list: show them; empty: delete all of them."""
    yes: bool = False
    """Delete without asking."""
    bags: Path | None = None
    """Folder of the episodes; None: that of the running recorder."""


Action = (
    Annotated[Start, tyro.conf.subcommand("start")]
    | Annotated[Stop, tyro.conf.subcommand("stop")]
    | Annotated[Keep, tyro.conf.subcommand("keep")]
    | Annotated[Discard, tyro.conf.subcommand("discard")]
    | Annotated[Redo, tyro.conf.subcommand("redo")]
    | Annotated[SaveLast, tyro.conf.subcommand("save-last")]
    | Annotated[Label, tyro.conf.subcommand("label")]
    | Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Trash, tyro.conf.subcommand("trash")]
)


def episode(config: Action) -> int:
    """Do one thing; returns 0 when it was done and 1 when it was refused.

    Raises:
        NoCellError: no recorder runs.
    """
    if isinstance(config, List):
        return _list(config)
    if isinstance(config, Trash):
        return _trash(config)
    if isinstance(config, Label | Discard) and config.episode is not None:
        return _judge_closed(config, config.episode)
    return _ask(config)


def _ask(config: Start | Stop | Keep | Discard | Redo | SaveLast | Label) -> int:
    """Let the running recorder do it."""
    from ate_recorder.nodes.episode_client import recorder

    label = check_label(config.text) if isinstance(config, Label) else ""
    with recorder(config.timeout, config.cell) as client:
        if label and label != SUCCESS:
            done, message = client.label(label)
        else:
            done, message = client.call("keep" if label else _verb(config))
    print(message if done else f"refused: {message}", file=sys.stdout if done else sys.stderr)
    return 0 if done else 1


def _verb(config: object) -> str:
    """Service of the recorder that an action asks for."""
    return "save_last" if isinstance(config, SaveLast) else type(config).__name__.lower()


def _judge_closed(config: Label | Discard, number: int) -> int:
    """Change what is written beside a bag; a running recorder notices by itself.

    Raises:
        EpisodeError: there is no such episode, or it is being recorded.
    """
    folders = EpisodeFolders(_folder(config))
    folder = folders.find(number)
    require_closed(folder)
    if isinstance(config, Label):
        folders.mark(folder, check_label(config.text), "", time.time_ns())
        print(f"{folder.name} kept ({config.text.strip()})")
    else:
        folders.set_aside(folder, "discarded by number", time.time_ns())
        print(f"{folder.name} discarded")
    return 0


def _list(config: List) -> int:
    folder = _folder(config)
    episodes = [read_summary(path) for path in EpisodeFolders(folder).episodes()]
    if config.outcome is not None:
        episodes = [one for one in episodes if one.outcome == config.outcome]
    if config.json:
        print(json.dumps([asdict(one) for one in episodes], indent=2))
    else:
        print(table(folder, episodes))
    return 0


def _trash(config: Trash) -> int:
    """List the discarded episodes, or delete those that were shown."""
    folders = EpisodeFolders(_folder(config))
    trash = list_trash(folders)
    total = sum(one.bytes for one in trash)
    told = f"{len(trash)} discarded episodes in {folders.output.resolve()}: {_size(total)}"
    print("\n".join([told, *(f"  {one.name}  {_size(one.bytes)}" for one in trash)]))
    if config.do == "list" or not trash:
        return 0
    if not config.yes and not _agreed(f"delete these {len(trash)} for good"):
        print("nothing deleted; --yes deletes without asking", file=sys.stderr)
        return 1
    troubles = empty_trash(folders, trash)
    print(f"{len(trash) - len(troubles)} deleted")
    print("\n".join(troubles), end="\n" if troubles else "", file=sys.stderr)
    return 1 if troubles else 0


def _agreed(question: str) -> bool:
    """Whether somebody at a terminal says yes; nobody at none does."""
    return sys.stdin.isatty() and input(f"{question}? [y/N] ").strip().lower() in ("y", "yes")


def _size(count: int) -> str:
    return f"{count:,} bytes ({count / 1e9:.2f} GB)"


def table(folder: Path, episodes: list[EpisodeSummary]) -> str:
    """The list of episodes for people."""
    lines = [f"{len(episodes)} episodes in {folder.resolve()}"]
    for one in episodes:
        words = [f"{one.number:6}  {one.outcome:12} {one.seconds:6.1f} s  {one.task}"]
        words += [one.operator] if one.operator else []
        words += [f"{one.dropped} messages dropped"] if one.dropped else []
        words += [one.reason] if one.reason else []
        lines.append("  ".join(words))
    return "\n".join(lines)


def _folder(config: Discard | Label | List | Trash) -> Path:
    """The folder of the episodes.

    Raises:
        EpisodeError: there is no such folder.
        NoCellError: none was given, and no recorder runs.
    """
    given = config.bags
    if given is None:
        from ate_recorder.nodes.episode_client import recorder

        with recorder(config.timeout, config.cell) as client:
            given = Path(str(client.status().get("output", "")))
    if not given.is_dir():
        raise EpisodeError(f"there is no folder {given}: give --bags the folder of the episodes")
    return given
