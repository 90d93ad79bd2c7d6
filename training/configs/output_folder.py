"""Folders that commands write to."""

from pathlib import Path

from ate_core.errors import UsageError


def make_folder(path: Path) -> None:
    """Make a folder and its parents; called before the work whose results go there.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"folder {path} cannot be made ({error.strerror}): choose another output"
        ) from None
