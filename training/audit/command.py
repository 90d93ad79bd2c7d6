"""``ate audit``: every episode of a folder judged by rules, with a score and a report."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ate_core.errors import AteError, EpisodeError, UsageError
from ate_core.files import replace_text
from training.audit.gate import Gate
from training.audit.hdf5 import read_converted
from training.audit.journal import Journal, Judged, signature_of
from training.audit.judge import audit_episode, compare, rule_words, rules_version
from training.audit.report import EpisodeAudit, SetAudit, episode_from_dict
from training.audit.stored import REPORT_FILE
from training.data.bag_reader import BagEpisode, read_episode_bag
from training.data.episode_file import PATTERN
from training.data.set_files import refuse_half_edited, require_readable
from training.reporting.terminal import coloured, terminal
from training.tasks.choose import WorkConfig

if TYPE_CHECKING:  # what draws is loaded only where a page is asked for
    from training.audit.page.writer import Drawn, PageWriter

Read = Callable[[], BagEpisode]
"""How an episode is read; it can be sent to a worker."""
LEROBOT = Path("meta") / "info.json"
"""What every LeRobot set holds."""
BAG_PATTERN = "episode_[0-9][0-9][0-9][0-9][0-9][0-9]"


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """Judge recorded or converted episodes by rules, without changing them."""

    bags: Path
    """Folder of recorded episodes (bags), of converted ones (HDF5), or of a LeRobot set."""
    mapping: Path | None = None
    """Of a LeRobot set of another robot: YAML file that says whose columns are which, as for `ate
    import`; None: it is proposed from their names."""
    cell: Path | None = None
    """Of a LeRobot set of another robot: cell whose layout its columns fill; None: the packaged
    one."""
    output: Path | None = None
    """Page to write, with pictures and plots; nothing: only the table and audit.json."""
    json: bool = False
    """Print the report as JSON instead of a table."""
    min_score: float = 0.0
    """Score below which an episode makes the command fail, 0 to 100."""
    work: Annotated[WorkConfig, tyro.conf.arg(name="")] = field(default_factory=WorkConfig)
    """Where, and how many at the same time."""

    def __post_init__(self) -> None:
        """Refuse a score that none can have."""
        Gate(min_score=self.min_score)


def audit(config: AuditConfig) -> int:
    """Judge every episode, print a table, store audit.json; 1 when one is refused or too low."""
    page = None
    if config.output is not None:
        from training.audit.page.writer import PageWriter

        page = PageWriter(config.output)
    episodes = _episodes(config)
    found = audit_folder(config.bags, episodes, config.work, page=page, quiet=config.json)
    write_report(config.bags, found)
    Journal(config.bags, {}).close()
    if config.json:
        print(json.dumps(found.as_dict(), allow_nan=False, indent=1))
    else:
        print_table(terminal(), found)
    if page is not None:
        page.finish(found)
    bad = [
        episode
        for episode in found.episodes
        if "refuse" in episode.verdicts.values() or episode.score < config.min_score
    ]
    return 1 if bad or found.unreadable else 0


def _episodes(config: AuditConfig) -> dict[str, Read]:
    """How each episode is read, by name; what was guessed about the columns is told."""
    folder = config.bags.resolve()
    if not (folder / LEROBOT).is_file():
        if config.mapping is not None or config.cell is not None:
            raise UsageError(
                f"--mapping and --cell are for LeRobot sets, and {folder} has no {LEROBOT}: leave "
                "them out"
            )
        return find_episodes(folder)
    from training.audit.lerobot import find_in_lerobot

    reads, doubts = find_in_lerobot(folder, config.mapping, config.cell)
    for doubt in doubts:
        terminal(stderr=True).print(f"guessed, check with `ate mapping`: {doubt}")
    return reads


def audit_folder(
    folder: Path,
    reads: Mapping[str, Read],
    work: WorkConfig,
    *,
    page: PageWriter | None = None,
    quiet: bool = True,
) -> SetAudit:
    """Judge every episode of a folder, and each against the others.

    Args:
        folder: Of bags, of HDF5 episodes or of a LeRobot set.
        reads: How each of its episodes is read, by name.
        work: Where episodes are judged, and how many at the same time.
        page: Takes what is shown of each.
        quiet: Whether no progress is shown.
    """
    episodes: dict[str, EpisodeAudit] = {}
    unreadable: dict[str, str] = {}
    journal = Journal(folder, _signatures(reads, page is not None))
    judging = _judged(reads, work, journal, with_page=page is not None)
    with Progress(console=terminal(stderr=True), transient=True, disable=quiet) as progress:
        for one in progress.track(judging, len(reads), description="judging"):
            if one.audit is None:
                unreadable[one.name] = one.reason
                continue
            # As a stopped audit finds it again: JSON holds neither NaN nor infinity.
            episodes[one.name] = episode_from_dict(one.audit.as_dict())
            if page is not None and one.drawn is not None:
                page.take(one.name, one.drawn)
    judged = [episodes[name] for name in reads if name in episodes]
    return SetAudit(
        folder=str(folder),
        episodes=compare(judged),
        rules=rule_words(),
        unreadable=dict(sorted(unreadable.items())),
    )


def _judged(
    reads: Mapping[str, Read], work: WorkConfig, journal: Journal, *, with_page: bool
) -> Iterator[Judged]:
    """What an audit that was stopped left behind, then the rest, as it is done."""
    known = set()
    for one in journal.read():
        known.add(one.name)
        yield one
    items = [(name, read) for name, read in reads.items() if name not in known]
    for done in work.run(functools.partial(judge_one, with_page=with_page), items):
        name = done.item[0]
        if done.result is None or isinstance(done.result, str):
            one = Judged(name=name, reason=done.result or done.failure)
        else:
            one = Judged(name=name, audit=done.result[0], drawn=done.result[1])
        journal.keep(one)
        yield one


def _signatures(reads: Mapping[str, Read], with_page: bool) -> dict[str, str]:
    """Episode -> what its judgement depends on: its files, the rules, how it is read and shown."""
    also = rules_version(rule_words()), str(with_page)
    known: dict[Path, str] = {}
    signatures = {}
    for name, read in reads.items():
        source = read.args[0] if isinstance(read, functools.partial) else None
        path = source if isinstance(source, Path) else getattr(source, "folder", None)
        if path is None:
            signatures[name] = ""  # nobody knows when it changes
            continue
        if path not in known:
            known[path] = signature_of(path, *also, str(source))
        signatures[name] = known[path]
    return signatures


def judge_one(item: tuple[str, Read], with_page: bool) -> tuple[EpisodeAudit, Drawn | None] | str:
    """Judge one episode and draw it for the page; or say why it cannot be read."""
    name, read = item
    try:
        episode = read()
        audited = audit_episode(name, episode)
    except Exception as error:  # any: one bad episode never ends an audit
        return _reason(error)
    if not with_page:
        return audited, None
    from training.audit.page.writer import draw

    return audited, draw(episode, audited)


def _reason(error: Exception) -> str:
    """What went wrong in one line; errors that are not ours say what they are."""
    words = " ".join(str(error).split())
    return words if isinstance(error, AteError) else f"{type(error).__name__}: {words}"


def find_episodes(folder: Path) -> dict[str, Read]:
    """Return how each episode of a folder is read, by name; bags come before HDF5 files.

    Raises:
        EpisodeError: there is none, or an edit of the folder is half done.
    """
    folder = folder.resolve()
    require_readable(folder)
    if list(folder.glob("episode_*_0.mcap")):
        return {folder.name: functools.partial(read_episode_bag, folder)}
    refuse_half_edited(folder)
    bags = [path for path in sorted(folder.glob(BAG_PATTERN)) if path.is_dir()]
    found: dict[str, Read] = {
        path.name: functools.partial(read_episode_bag, path) for path in bags
    }
    for path in sorted(folder.glob(PATTERN)):
        found.setdefault(path.stem, functools.partial(read_converted, path))
    if not found:
        raise EpisodeError(
            f"{folder} holds neither episode_NNNNNN folders nor episode_NNNNNN.hdf5 files nor "
            f"{LEROBOT}; name the folder of a recording, that of 'ate convert', or a LeRobot set"
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
        terminal(stderr=True).print(f"{REPORT_FILE} not stored: {error.strerror}")


def print_table(console: Console, found: SetAudit) -> None:
    """Print one row per episode, and how often each rule spoke."""
    table = Table("episode", "score", "seconds", "findings")
    for episode in found.episodes:
        refused = "refuse" in episode.verdicts.values()
        colour = "red" if refused else "yellow" if episode.failed else "green"
        table.add_row(
            episode.name,
            coloured(f"{episode.score:.0f}", colour),
            f"{episode.seconds:.1f}",
            "\n".join(filter(None, map(str, (episode.takeovers, *episode.findings)))),
        )
    for name, reason in found.unreadable.items():
        table.add_row(name, coloured("unreadable", "red"), "", reason)
    console.print(table)
    counts = Counter(rule for episode in found.episodes for rule in episode.failed)
    said = ", ".join(f"{rule} {count}" for rule, count in counts.most_common())
    console.print(f"{len(found.episodes)} judged, mean score {found.score:.0f}; {said or 'clean'}")
