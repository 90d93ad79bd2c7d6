"""`ate cockpit`: the page for a cell that runs already."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ate_core.blind_scoring import resume
from ate_core.contract import load_cell
from ate_core.errors import UsageError
from ate_core.ros_words import parameter_words


@dataclass(frozen=True, kw_only=True)
class CockpitConfig:
    """Serve the page of a running cell until Ctrl-C; it delays nobody."""

    cell: str = ""
    """cell.yaml, or the name of a packaged cell; empty: the packaged one."""
    hardware: Literal["real", "sim"] = "real"
    """Real devices, or the emulated ones."""
    host: str = "127.0.0.1"
    """Address to listen on. Any but a loopback one is answered with a token only."""
    port: int = 8400
    """TCP port of the page."""
    token: str = ""
    """Word that a browser must know, 8 characters or more; empty: made up where one is needed."""

    score: str = ""
    """Folder of a session of `ate score`, to be scored by keys of the page."""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise UsageError(f"--port is {self.port}; need 1 to 65535")


def cockpit(config: CockpitConfig) -> int:
    """Run the node of the page in this process; returns its exit code."""
    from ate_cockpit.nodes.cockpit_node import main

    load_cell(config.cell or None, config.hardware)  # a wrong cell is told before ROS starts
    if config.score:
        resume(Path(config.score))  # likewise
    values: dict[str, str | bool | int] = {
        "cell": config.cell,
        "hardware": config.hardware,
        "host": config.host,
        "port": config.port,
        "token": config.token,
        "score": config.score,
    }
    given = {name: value for name, value in values.items() if value}
    return main(["--ros-args", *parameter_words(given)])
