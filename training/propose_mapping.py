"""``ate mapping``: propose which columns of recordings are which of a cell's fields."""

import sys
from dataclasses import dataclass
from pathlib import Path

from ate_core.contract import load_cell
from ate_core.errors import UsageError
from training.foreign.importer import open_recordings
from training.foreign.proposal import propose


@dataclass(frozen=True, kw_only=True)
class MappingConfig:
    """Propose a mapping file for `ate import` from the names of the recordings' columns.

    A proposal is to be checked: no name says the sign or the zero posture of a joint.
    """

    recordings: Path
    """Folder of a LeRobot data set, or of HDF5 files."""
    cell: Path | None = None
    """Cell whose layout is to be filled; None: the packaged one."""
    output: Path | None = None
    """File to write; None: print it."""


def propose_mapping(config: MappingConfig) -> int:
    """Write or print the proposal; what it doubts is said on stderr, too."""
    proposal = propose(open_recordings(config.recordings.resolve()), load_cell(config.cell))
    if config.output is None:
        print(proposal.text, end="")
        return 0
    try:
        with config.output.open("x") as file:
            file.write(proposal.text)
    except FileExistsError:
        raise UsageError(
            f"{config.output} is there already: give another --output, or remove it"
        ) from None
    for doubt in proposal.doubts:
        print(f"check: {doubt}", file=sys.stderr)
    return 0
