"""Of which recordings episodes are made, as `source` says: that of a part, of parts joined again.

episode_000002.hdf5[0:15] of episode_000002                                    a part
episode_500000.hdf5 + episode_500001.hdf5 of episode_000002 + episode_000003   joined
"""

import re
from collections.abc import Sequence

_PART = re.compile(r"(\S+)\[\d+:\d+\] of ")
_JOINED = re.compile(r"\S+(?: \+ \S+)+ of ")


def source_of_part(name: str, begin: int, end: int, source: str) -> str:
    """What a part tells of itself.

    Args:
        name: Of the file that was cut.
        begin: First tick.
        end: Tick after the last one.
        source: Of the file that was cut.
    """
    return f"{name}[{begin}:{end}] of {source}"


def source_of_joined(names: Sequence[str], sources: Sequence[str]) -> str:
    """What an episode tells of itself that was joined from files with these sources."""
    made_of = [
        origin
        for name, source in zip(names, sources, strict=True)
        for origin in (_origins(source) if source else (name,))
    ]
    return f"{' + '.join(names)} of {' + '.join(dict.fromkeys(made_of))}"


def recordings_of(sources: Sequence[str]) -> list[int]:
    """Number each episode by its recording: parts of one, however joined, have one number.

    Whole episodes have numbers of their own: sets that were put together may name theirs alike.

    Args:
        sources: Of the episodes.

    Returns:
        Numbers from 0 on, in the order in which they come first.
    """
    made_of = [_origins(source) for source in sources]
    cut = {
        origin
        for source, origins in zip(sources, made_of, strict=True)
        if origins != (source,)
        for origin in origins
    }
    groups, first = list(range(len(sources))), dict[str, int]()
    for index, origins in enumerate(made_of):
        for origin in cut.intersection(origins):
            pair = groups[index], groups[first.setdefault(origin, index)]
            groups = [min(pair) if group in pair else group for group in groups]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return [numbers[group] for group in groups]


def _origins(source: str) -> tuple[str, ...]:
    """The recordings that a source names; the innermost file where that told none."""
    name = ""
    while found := _PART.match(source) or _JOINED.match(source):
        name = found[1] if found.re is _PART else ""
        source = source[found.end() :]
    return tuple(dict.fromkeys((source or name).split(" + ")))
