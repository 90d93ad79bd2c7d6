"""What requests and answers look like: those of `ate serve`; others in `foreign.py`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.errors import LayoutError
from ate_core.trained_for import require_robot
from ate_policy.remote.messages import Request, ServedPolicy, read_chunk


class Dialect(ABC):
    """How one server is spoken to."""

    served: ServedPolicy
    """What it serves, in our words."""

    @abstractmethod
    def message(self, request: Request) -> dict[str, Any]:
        """What is sent for a request."""

    @abstractmethod
    def chunk(self, answer: Mapping[str, Any], tick: int) -> NDArray[np.float32]:
        """The chunk (H, D) of an answer in robot units.

        Raises:
            LayoutError: it is of another shape or kind, or answers another request than `tick`.
        """


class OwnDialect(Dialect):
    """A server of ours says itself what it serves."""

    def __init__(self, hello: Mapping[str, Any], where: str, cell: Cell | None) -> None:
        """Read its first message.

        Args:
            hello: its first message.
            where: its address.
            cell: that it shall drive; None: any.

        Raises:
            LayoutError: it serves a policy of another robot, or does not say of which.
        """
        self.served = ServedPolicy.read(hello, where)
        if cell is not None:
            require_robot(self.served.cell, cell, f"the policy of {where}")

    def message(self, request: Request) -> dict[str, Any]:
        """What is sent for a request."""
        return request.message(self.served.config)

    def chunk(self, answer: Mapping[str, Any], tick: int) -> NDArray[np.float32]:
        """The chunk (H, D) of an answer."""
        config = self.served.config
        if answer.get("tick", tick) != tick:
            raise LayoutError(f"the server answered request {answer['tick']!r}, asked was {tick}")
        return read_chunk(answer, config.horizon, config.action_size)
