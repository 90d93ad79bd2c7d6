"""Joint motion from folders of HDF5 files: the released VAE code's, ALOHA's and our own.

<folder>/train/*.hdf5 or <folder>/*.hdf5, one episode each, with rows in one of

    action              (T, D): what policies learn; ours, ALOHA, RoboTwin, RDT
    qpos                (n, D): the released VAE code
    observations/qpos   (T, D): files without actions; beside them, the measured state
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import TrainingError
from training.data.column_mapping import map_rows
from training.data.hdf5_folder import find_hdf5, is_demonstration, told_outcome

logger = logging.getLogger(__name__)

STATES = "observations/qpos"
"""Dataset of measured joints."""

KEYS = ("action", "qpos", STATES)
"""Datasets that may hold the rows; the first one there is read."""


SIGN = "*.hdf5 or train/*.hdf5 (episodes, `qpos` files)"
"""By what such a folder is known."""


def holds(folder: Path) -> bool:
    """Whether there are HDF5 files where this module reads them."""
    return bool(find_hdf5(folder))


def _demonstrations(folder: Path) -> list[Path]:
    """Files that are learned from: of ours the successes, of others all.

    Raises:
        TrainingError: there is none.
    """
    files = find_hdf5(folder)
    chosen = [file for file in files if is_demonstration(_outcome(file))]
    if not chosen:
        raise TrainingError(
            f"none of the {len(files)} episodes in {folder} is a success: record more"
        )
    return chosen


def _outcome(path: Path) -> str:
    try:
        return told_outcome(path)
    except OSError:
        return ""  # it is refused with its reason where its rows are read


def has_states(folder: Path) -> bool:
    """Whether all files hold the measured state beside the actions."""
    for path in _demonstrations(folder):
        with h5py.File(path, "r") as file:
            if KEYS[0] not in file or STATES not in file:
                return False
    return True


def read_actions(folder: Path, cell: Cell) -> tuple[list[np.ndarray], list[str]]:
    """Read the episodes of a folder: (T, D) each, in the cell's layout, and their files' names.

    Of ours only successes, by the label given last.
    Files of others do not say their rate: each row is taken for a tick of the cell, which is told.
    """
    episodes, files = _read(folder, cell, KEYS), _demonstrations(folder)
    if left_out := len(find_hdf5(folder)) - len(files):
        logger.info("%s: left out %d episodes that are no success", folder, left_out)
    if not all(_tells_its_cell(file) for file in files):
        logger.warning(
            "%s does not say its rate: its rows are taken for ticks of the cell, %g per second. "
            "Where they were recorded at another rate, bring them here with `ate import`, whose "
            "mapping names it (`rate`), and give the episodes that it writes",
            folder,
            cell.tick_rate,
        )
    return episodes, [file.name for file in files]


def _tells_its_cell(path: Path) -> bool:
    with h5py.File(path, "r") as file:
        return "contract" in file.attrs


def read_states(folder: Path, cell: Cell) -> list[np.ndarray]:
    """Read the measured states of all episodes, in the layout of the action."""
    return _read(folder, cell, (STATES,))


def _read(folder: Path, cell: Cell, keys: Sequence[str]) -> list[np.ndarray]:
    """The rows of all episodes, from the first of the datasets that a file holds."""
    files = _demonstrations(folder)
    episodes = [_read_rows(file, cell, keys) for file in files]
    widths = {rows.shape[1]: file.name for rows, file in zip(episodes, files, strict=True)}
    if len(widths) > 1:
        found = ", ".join(f"{width} ({name})" for width, name in sorted(widths.items()))
        raise TrainingError(f"{folder} mixes widths {found}: give each kind its own folder")
    return [
        map_rows(rows, cell.layout.action, file)
        for rows, file in zip(episodes, files, strict=True)
    ]


def _read_rows(path: Path, cell: Cell, keys: Sequence[str]) -> np.ndarray:
    try:
        with h5py.File(path, "r") as file:
            key = next((key for key in keys if key in file), None)
            rows = None if key is None else np.asarray(file[key][()], dtype=np.float32)
            contract = file.attrs.get("contract")
    except (OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise TrainingError(
            f"{path} cannot be read ({reason}): copy or convert it again"
        ) from None
    if rows is None:
        raise TrainingError(f"{path} has none of {', '.join(keys)}: give files with joint rows")
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise TrainingError(f"{path}: {key} has shape {rows.shape}, must be (rows, numbers)")
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise TrainingError(
            f"{path}: {key} holds {rows[row, column]} at row {row}, entry {column}: remove it"
        )
    if contract is not None:
        theirs = parse_cell_text(str(contract), where=str(path)).layout
        if (theirs.action, theirs.tick_rate) != (cell.layout.action, cell.tick_rate):
            raise TrainingError(
                f"{path} was recorded with another action layout or tick rate "
                f"({'; '.join(theirs.differences(cell.layout))}): give --cell that cell"
            )
    return rows
