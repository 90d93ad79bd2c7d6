"""All checks, in the order of the report."""

from collections.abc import Sequence

from ate_bringup.doctor.cell_file import look_at_cell_file
from ate_bringup.doctor.checkpoint import look_at_checkpoint
from ate_bringup.doctor.finding import Check
from ate_bringup.doctor.libraries import look_at_libraries
from ate_bringup.doctor.ports import look_at_ports

CHECKS: tuple[Check, ...] = (
    Check(
        name="cell file",
        group="cell",
        look=look_at_cell_file,
        needs_cell=False,
        before_launch=True,
    ),
    Check(name="checkpoint", group="cell", look=look_at_checkpoint, before_launch=True),
    Check(name="ports", group="network", look=look_at_ports, is_static=False, before_launch=True),
    Check(name="libraries", group="software", look=look_at_libraries, before_launch=True),
)
"""Every check; a new one is a function and one entry here."""


def static_checks() -> Sequence[Check]:
    """Checks that read files and nothing else."""
    return [check for check in CHECKS if check.is_static]


def launch_checks() -> Sequence[Check]:
    """Checks that a launch asks before it starts anything."""
    return [check for check in CHECKS if check.before_launch]
