"""What a check is told, and what it found."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ate_core.contract import Cell, Hardware, load_cell
from ate_core.findings import Finding


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What is looked at."""

    cell_name: str | None = None
    """Cell file or packaged name; None: the packaged cell."""
    hardware: Hardware = "real"
    """Which body of the cell is looked at."""
    checkpoint: Path | None = None
    """Checkpoint that shall drive the cell."""
    policy_server: str = ""
    """Address of the server of a policy that shall drive the cell; empty: none."""
    policy_token: str = ""
    """File with the word it asks for; empty: none."""
    policy_keys: str = ""
    """File that says what a server of openpi reads and gives; empty: it is one of ours."""
    instruction: str | None = None
    """What the checkpoint is told to do; None: not known."""
    execute: int = 0
    """Actions that are to be executed of each chunk [ticks]; 0: the usual number."""
    delay_ms: int = 0
    """Expected time from an observation to its chunk [ms]; 0: not known."""
    chunk_mode: str = ""
    """How its chunks are to be played; empty: not known."""
    device: str = ""
    """Where its network shall run: auto, cpu, cuda, cuda:1; empty: not known."""
    starts: range = range(0)
    """Seeds of the rollouts in which the checkpoint is judged."""
    runs_cameras: bool = True
    """Whether the cameras run."""
    output: Path = field(default_factory=Path.cwd)
    """Folder that episodes are written to."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Files that a launch is to write, by the argument that names them."""
    starts_devices: bool = False
    """Whether a launch is about to start drivers, and for sim the emulators."""
    plays_headsets: bool = False
    """Whether a launch is about to emulate the operators' headsets."""

    @cached_property
    def cell(self) -> Cell:
        """The cell; refused cells raise, with the reason.

        Raises:
            ContractError: the file is wrong.
        """
        return load_cell(self.cell_name, self.hardware)


Look = Callable[[Patient], Iterable[Finding]]
"""Yields what it found; may raise."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One subject that is looked at."""

    name: str
    """Name in the report, for instance ``disk``."""
    group: str
    """Heading in the report."""
    look: Look
    """Yields what it found; may raise."""
    limit: float = 20.0
    """Time after which it counts as hung [s]."""
    is_static: bool = True
    """Whether it reads files only; a live one looks at this machine and at devices."""
    is_alone: bool = False
    """Whether it measures this machine: it runs before all others, which would disturb it."""
    before_launch: bool = False
    """Whether a launch asks it: quick, and opens nothing that a driver will open."""
    needs_output: bool = False
    """Whether a launch asks it only when it writes episodes."""
    needs_cell: bool = True
    """Whether it reads the cell file, so that it says nothing where the file is refused."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check found."""

    check: str
    """Its name."""
    group: str
    """Its heading."""
    findings: tuple[Finding, ...]
    """What it found, in order."""
    seconds: float
    """Time it took [s]."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
