"""Folders of HDF5 files, ours or others': which of them are episodes, and how ours ended."""

from __future__ import annotations

from pathlib import Path

import h5py

from ate_core.episode_outcome import SUCCESS
from training.data.set_files import read_label, refuse_half_edited


def find_hdf5(folder: Path) -> list[Path]:
    """HDF5 files of the training split, or of the folder itself, in the order of their names.

    Hidden ones are none: an edit writes new episodes under such names before it puts them there.

    Raises:
        EpisodeError: an edit of the folder is half done.
    """
    split = folder / "train"
    place = split if split.is_dir() else folder
    refuse_half_edited(place)
    return sorted(path for path in place.glob("*.hdf5") if not path.name.startswith("."))


def told_outcome(path: Path) -> str:
    """How an episode ended, by the label given last; empty: the file of others, which do not say.

    Raises:
        EpisodeError: the label beside it is damaged.
        OSError: the file cannot be read.
    """
    with h5py.File(path, "r") as file:
        if "contract" not in file.attrs:
            return ""
        own = str(file.attrs.get("outcome", SUCCESS))
    return read_label(path) or own


def is_demonstration(outcome: str) -> bool:
    """Whether motion that ended so is learned from: a success, or nobody says, as of others."""
    return outcome in ("", SUCCESS)
