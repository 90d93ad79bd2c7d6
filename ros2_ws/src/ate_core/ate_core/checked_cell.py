"""What the checks of a cell file read of `ate_core.contract.Cell`, which asks them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from ate_core.camera_config import CameraConfig
from ate_core.devices import ArmConfig, GripperConfig, OperatorConfig
from ate_core.guard_config import GuardConfig, Obstacle
from ate_core.topics import Topics

Problems = Iterator[str]
"""One sentence per problem: the entries, their values, the bound and the remedy."""


class Cell(Protocol):
    """A cell whose entries were read one by one."""

    @property
    def hardware(self) -> str:
        """Real devices or emulated ones."""

    @property
    def runtime_dir(self) -> str:
        """Folder of the emulated devices' endpoints."""

    @property
    def arms(self) -> Mapping[str, ArmConfig]:
        """Arms by side."""

    @property
    def grippers(self) -> Mapping[str, GripperConfig]:
        """Grippers by side."""

    @property
    def cameras(self) -> Mapping[str, CameraConfig]:
        """Cameras by role."""

    @property
    def operators(self) -> Mapping[str, OperatorConfig]:
        """Operators by the side that they drive."""

    @property
    def topics(self) -> Topics:
        """Names of topics."""

    @property
    def guard(self) -> GuardConfig:
        """Distances that are kept."""

    @property
    def obstacles(self) -> Mapping[str, Obstacle]:
        """What stands in the cell."""

    @property
    def vectors(self) -> Any:
        """Layout of state and action: `ate_core.contract.LayoutConfig`."""

    @property
    def safety(self) -> Any:
        """Limits of the filter: `ate_core.contract.SafetyConfig`."""

    @property
    def tick_rate(self) -> float:
        """Rate of episodes and policies [Hz]."""

    @property
    def rates(self) -> Any:
        """Rates of the loops: `ate_core.contract.RatesConfig`."""


Check = Callable[[Cell], Problems]
