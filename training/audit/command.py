"""``ate audit``: every episode of a folder judged by rules, with a score and a report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ate_core.errors import AteError, EpisodeError
from ate_core.files import replace_text
from training.audit.hdf5 import read_converted
from training.audit.judge import audit_episode, compare, rule_words
from training.audit.report import EpisodeAudit, SetAudit
from training.audit.stored import REPORT_FILE
from training.data.bag_reader import BagEpisode, read_episode_bag
from training.data.episode_file import PATTERN

Look = Callable[[str, BagEpisode, EpisodeAudit], None]
"""What is done with an episode and its verdict, for instance drawn."""
BAG_PATTERN = "episode_[0-9][0-9][0-9][0-9][0-9][0-9]"


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """Judge recorded or converted episodes by rules, without changing them."""

    bags: Path
    """Folder of recorded episodes (bags) or of converted ones (HDF5)."""
    output: Path | None = None
    """Page to write, with pictures and plots; nothing: only the table and audit.json."""
    json: bool = False
    """Print the report as JSON instead of a table."""
    min_score: float = 0.0
    """Score below which an episode makes the command fail, 0 to 100."""


def audit(config: AuditConfig) -> int:
    """Judge every episode, print a table, store audit.json; 1 when one is refused or too low."""
    page = None
    if config.output is not None:
        from training.audit.page.writer import PageWriter

        page = PageWriter(config.output)
    found = audit_folder(config.bags, look=page.add if page else None, quiet=config.json)
    write_report(config.bags, found)
    if config.json:
        print(json.dumps(found.as_dict(), allow_nan=False, indent=1))
    else:
        print_table(Console(), found)
    if page is not None:
        page.finish(found)
    bad = [
        episode
        for episode in found.episodes
        if "refuse" in episode.verdicts.values() or episode.score < config.min_score
    ]
    return 1 if bad or found.unreadable else 0


def audit_folder(folder: Path, *, look: Look | None = None, quiet: bool = True) -> SetAudit:
    """Judge every episode of a folder, and each against the others.

    Args:
        folder: Of bags or of HDF5 episodes.
        look: Called with every episode once it is judged, while its data is at hand.
        quiet: Whether no progress is shown.

    Raises:
        EpisodeError: it holds neither.
    """
    episodes: list[EpisodeAudit] = []
    unreadable: dict[str, str] = {}
    readers = find_episodes(folder)
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress:
        for name, read in progress.track(readers.items(), description="judging"):
            try:
                episode = read()
                judged = audit_episode(name, episode)
                if look is not None:
                    look(name, episode, judged)
                episodes.append(judged)
            except Exception as error:  # any: one bad episode never ends an audit
                unreadable[name] = _reason(error)
    return SetAudit(
        folder=str(folder), episodes=compare(episodes), rules=rule_words(), unreadable=unreadable
    )


def _reason(error: Exception) -> str:
    """What went wrong in one line; errors that are not ours say what they are."""
    words = " ".join(str(error).split())
    return words if isinstance(error, AteError) else f"{type(error).__name__}: {words}"


def find_episodes(folder: Path) -> dict[str, Callable[[], BagEpisode]]:
    """Return how each episode of a folder is read, by name; bags come before HDF5 files.

    Raises:
        EpisodeError: there is none.
    """
    folder = folder.resolve()
    if list(folder.glob("episode_*_0.mcap")):
        return {folder.name: lambda: read_episode_bag(folder)}
    bags = [path for path in sorted(folder.glob(BAG_PATTERN)) if path.is_dir()]
    found: dict[str, Callable[[], BagEpisode]] = {
        path.name: (lambda path=path: read_episode_bag(path))  # type: ignore[misc]
        for path in bags
    }
    for path in sorted(folder.glob(PATTERN)):
        found.setdefault(path.stem, lambda path=path: read_converted(path))  # type: ignore[misc]
    if not found:
        raise EpisodeError(
            f"{folder} holds neither episode_NNNNNN folders nor episode_NNNNNN.hdf5 files; name "
            "the folder of a recording, or that of 'ate convert'"
        )
    return found


def write_report(folder: Path, found: SetAudit) -> None:
    """Store the report without pictures beside the episodes; a read-only folder is left alone."""
    if list(folder.resolve().glob("episode_*_0.mcap")):
        return  # one episode alone is no report of its session
    text = json.dumps(found.as_dict(), allow_nan=False, indent=1)
    try:
        replace_text(folder / REPORT_FILE, text + "\n")
    except OSError as error:
        Console(stderr=True).print(f"{REPORT_FILE} not stored: {error.strerror}")


def print_table(console: Console, found: SetAudit) -> None:
    """Print one row per episode, and how often each rule spoke."""
    table = Table("episode", "score", "seconds", "findings")
    for episode in found.episodes:
        refused = "refuse" in episode.verdicts.values()
        colour = "red" if refused else "yellow" if episode.failed else "green"
        table.add_row(
            episode.name,
            f"[{colour}]{episode.score:.0f}[/]",
            f"{episode.seconds:.1f}",
            "\n".join(map(str, episode.findings)),
        )
    for name, reason in found.unreadable.items():
        table.add_row(name, "[red]unreadable[/]", "", reason)
    console.print(table)
    counts = Counter(rule for episode in found.episodes for rule in episode.failed)
    said = ", ".join(f"{rule} {count}" for rule, count in counts.most_common())
    console.print(f"{len(found.episodes)} judged, mean score {found.score:.0f}; {said or 'clean'}")
