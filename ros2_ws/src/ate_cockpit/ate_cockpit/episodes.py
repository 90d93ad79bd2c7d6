"""The newest episodes in the recorder's folder, as a person looks for them."""

from pathlib import Path

from ate_core.episode_outcome import read_outcome
from ate_core.errors import EpisodeError

PATTERN = "episode_*"
NEWEST = 20
"""Episodes that are listed."""


def list_episodes(output: Path | None) -> list[dict[str, object]]:
    """Name and outcome of the newest episodes, newest first; none where there is no folder.

    Args:
        output: folder of the recorder; on another machine it is not there.
    """
    if output is None:
        return []
    try:
        folders = sorted(output.glob(PATTERN), key=lambda path: path.name, reverse=True)
    except OSError:
        return []
    return [
        {"name": folder.name, "outcome": _outcome(folder)}
        for folder in folders[:NEWEST]
        if folder.is_dir()
    ]


def _outcome(folder: Path) -> str:
    try:
        return str(read_outcome(folder).get("outcome", ""))
    except EpisodeError as error:
        return str(error)
