"""The error tree. A message says what is wrong, the value, the bound and the remedy."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

LARGEST_SEED = 2**32 - 1
"""Of what takes whole numbers of 32 bits: the simulator's generators."""


class AteError(Exception):
    """Any error the stack raises on purpose; commands print it as one line and exit non-zero."""


class ContractError(AteError):
    """The cell description is wrong: unknown key, missing field, value out of bounds."""


class LayoutError(AteError):
    """Two vectors that should share a layout do not."""


class DeviceError(AteError):
    """A device, its emulator or a system library is not usable."""


class LinkError(AteError):
    """Another machine is not there, or does not answer in time; asking again may help."""


class SafetyError(AteError):
    """A command was refused before it could reach an arm."""


class EpisodeError(AteError):
    """A recorded episode is truncated, incomplete or of another kind."""


class DiskError(AteError):
    """A disk lacks the room for what is written as a whole."""


class CheckpointError(AteError):
    """A checkpoint folder is incomplete or does not fit this cell."""


class TrainingError(AteError):
    """Training data or a training run is not usable."""


class UsageError(AteError):
    """A command was called with arguments that do not fit together."""


def require_not_negative(**numbers: float) -> None:
    """Refuse options below 0, and such that are not finite, by name.

    Raises:
        UsageError: one of them is.
    """
    for name, value in numbers.items():
        if not 0.0 <= value < math.inf:
            raise UsageError(f"{name} is {value}, must be finite and not negative")


def require_timeout(timeout: float) -> None:
    """Refuse a --timeout of a command that asks a running cell, outside of 0.5 to 60 s.

    Raises:
        UsageError: it is.
    """
    if not 0.5 <= timeout <= 60.0:
        raise UsageError(f"--timeout is {timeout} s; need 0.5 to 60 s")


def require_seed(**seeds: int) -> None:
    """Refuse seeds that not every generator takes, by name.

    Raises:
        UsageError: one of them is.
    """
    for name, value in seeds.items():
        if not 0 <= value <= LARGEST_SEED:
            raise UsageError(f"{name} is {value}, must be 0 to {LARGEST_SEED}")


def require_once(**folders: Sequence[Path]) -> None:
    """Refuse folders that an option names more than once, by whatever path.

    Raises:
        UsageError: one of them is.
    """
    for name, paths in folders.items():
        for folder, count in Counter(path.resolve() for path in paths).items():
            if count > 1:
                raise UsageError(f"{name} has {folder} {count} times: its episodes count once")


def require_at_least_one(**counts: int | None) -> None:
    """Refuse options below 1, by name; None says nothing.

    Raises:
        UsageError: one of them is.
    """
    for name, value in counts.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}, must be at least 1")


class NoCellError(AteError):
    """Nobody of a running cell answers a command."""

    def __init__(self, whom: str, timeout: float) -> None:
        """Say whom the command looked for, and for how long [s]."""
        super().__init__(
            f"no {whom} was heard within {timeout:g} s: start a cell with `ate launch ate_teleop "
            "dual_operator.launch.py hardware:=sim`, or set the ROS_DOMAIN_ID of the running one"
        )
