"""Where checkpoints lie: run folders, found by path or by name. Opens no network."""

import os
from collections.abc import Iterator
from pathlib import Path

from ate_core.errors import CheckpointError

RUNS = "ATE_RUNS"
"""Environment variable: folder in which runs are looked for by name; unset: ``runs``."""
LATEST = "last"
"""Link of a run folder to its newest checkpoint."""
DEEPEST = 6
"""Folders below the runs' folder that are looked into."""
SHOWN = 8
"""So many names are listed."""


def runs_folder() -> Path:
    """Folder in which runs are looked for by name."""
    return Path(os.environ.get(RUNS, "runs"))


def find_runs(root: Path) -> Iterator[Path]:
    """Run folders, and checkpoints that lie alone, in the order of their paths."""
    yield from _find(root, DEEPEST)


def _find(folder: Path, depth: int) -> Iterator[Path]:
    if any((folder / part / "config.json").is_file() for part in ("", LATEST)):
        yield folder
    elif depth > 0 and folder.is_dir():
        try:
            inside = sorted(one for one in folder.iterdir() if one.is_dir())
        except PermissionError:
            return
        for one in inside:
            if not one.name.startswith(".") and not one.is_symlink():
                yield from _find(one, depth - 1)


def named_checkpoint(given: str | Path) -> Path:
    """The folder that a path or a name means.

    What is there as a path is taken. Otherwise it is the end of a run's path below `runs_folder`:
    ``guided`` or ``demo/guided``, or ``guided/step_001000`` for one of its checkpoints. What is
    neither is left as it is.

    Raises:
        CheckpointError: several runs have that name.
    """
    path = Path(given)
    if path.exists() or path.is_absolute() or not path.parts:
        return path
    root = runs_folder()
    runs = list(find_runs(root))
    found = [run for run in runs if _ends_with(run, path)]
    if len(path.parts) > 1:
        inside = (run / path.name for run in runs if _ends_with(run, path.parent))
        found += [one for one in inside if one.is_dir()]
    if len(found) > 1:
        raise CheckpointError(f"{path} may be {_listed(found, root)}: give more of the path")
    return found[0] if found else path


def known_runs() -> str:
    """The names that there are, for an error; empty where there is none."""
    root = runs_folder()
    runs = list(find_runs(root))
    return f" `ate models` lists {_listed(runs, root)}" if runs else ""


def _listed(runs: list[Path], root: Path) -> str:
    names = [str(run.relative_to(root)) for run in runs]
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "") + f" in {root}"


def _ends_with(run: Path, name: Path) -> bool:
    return run.parts[-len(name.parts) :] == name.parts
