"""What `ate teleop-calibrate` asks of a running operator's node."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from std_msgs.msg import String
from std_srvs.srv import Trigger

from ate_core.contract import Cell
from ate_core.errors import NoCellError
from ate_core.json_text import UNREADABLE
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import LATCHED_QOS
from ate_core.nodes.visitor import Visitor, visit
from ate_teleop.calibration import CalibrationConfig

LONGEST = 3.0 * (CalibrationConfig().patience + CalibrationConfig().longest)
"""More than a calibration can take [s]."""


class _Follower:
    """The newest status of an operator."""

    def __init__(self, visitor: Visitor, cell: Cell, side: str) -> None:
        namespace = cell.arms[cell.operators[side].arm].namespace
        self.service = cell.topics.of_arm(namespace, cell.topics.calibrate)
        self._status: dict[str, Any] = {}
        topic = cell.topics.of_arm(namespace, cell.topics.operator_status)
        listen(visitor.node, String, topic, self._take, LATCHED_QOS)

    def _take(self, message: String) -> None:
        try:
            self._status = dict(json.loads(message.data))
        except UNREADABLE:
            return

    @property
    def words(self) -> str:
        """What the operator is told; empty before anything was heard."""
        return str(self._status.get("calibration", ""))

    def says_other_than(self, words: str) -> bool:
        """Whether something else is said by now."""
        return self.words != words

    @property
    def refusals(self) -> int:
        """Calibrations that were refused so far."""
        return int(self._status.get("calibrations_refused", 0))

    @property
    def is_running(self) -> bool:
        """Whether the person is being led."""
        return bool(self._status.get("calibrating"))


def calibrate(
    cell: Cell, side: str, timeout: float, tell: Callable[[str], None]
) -> tuple[bool, str]:
    """Begin a calibration and follow it; whether it was fitted, and what is said at the end.

    Raises:
        NoCellError: no such operator is running.
    """
    with visit("ate_teleop_calibrate") as visitor:
        follower = _Follower(visitor, cell, side)
        client = visitor.node.create_client(Trigger, follower.service)
        found = visitor.spin_until(
            lambda: client.service_is_ready() and bool(follower.words), timeout
        )
        if not found:
            raise NoCellError(f"{side} operator", timeout)
        before = follower.refusals
        answer = client.call_async(Trigger.Request())
        if not visitor.spin_until(answer.done, timeout):
            raise NoCellError(f"{side} operator", timeout)
        if not answer.result().success:
            return False, str(answer.result().message)

        def is_refused() -> bool:
            return follower.refusals > before

        visitor.spin_until(lambda: follower.is_running or is_refused(), timeout)
        while follower.is_running:
            told = follower.words
            tell(told)
            if not visitor.spin_until(partial(follower.says_other_than, told), LONGEST):
                raise NoCellError(f"{side} operator", LONGEST)
        return not is_refused(), follower.words
