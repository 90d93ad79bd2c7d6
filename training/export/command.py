"""``ate export``: episodes in the formats of others."""

from collections.abc import Callable
from typing import Annotated, Any

import tyro

from training.export.act import ActExport, export_act
from training.export.lerobot import LerobotExport, export_lerobot
from training.export.rdt import RdtExport, export_rdt
from training.export.robotwin import RobotwinExport, export_robotwin

Export = (
    Annotated[LerobotExport, tyro.conf.subcommand("lerobot")]
    | Annotated[ActExport, tyro.conf.subcommand("act")]
    | Annotated[RdtExport, tyro.conf.subcommand("rdt")]
    | Annotated[RobotwinExport, tyro.conf.subcommand("robotwin")]
)
"""Every format, by its word."""
EXPORTERS: dict[type, Callable[[Any], int]] = {
    LerobotExport: export_lerobot,
    ActExport: export_act,
    RdtExport: export_rdt,
    RobotwinExport: export_robotwin,
}
"""Options of a format -> what writes it."""


def export(config: Export) -> int:
    """Write the episodes of a folder in another format."""
    return EXPORTERS[type(config)](config)
