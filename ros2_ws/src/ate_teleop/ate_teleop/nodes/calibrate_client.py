"""What `ate teleop-calibrate` asks of a running operator's node."""

import time
from collections.abc import Callable

from std_msgs.msg import String
from std_srvs.srv import Trigger

from ate_core.contract import Cell
from ate_core.errors import NoCellError
from ate_core.json_text import Document, plain_text, read_document
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
        self._status: Document = {}
        topic = cell.topics.of_arm(namespace, cell.topics.operator_status)
        self._heard = listen(visitor.node, String, topic, self._take, LATCHED_QOS)

    def _take(self, message: String) -> None:
        self._status = read_document(message.data) or self._status

    @property
    def has_gone(self) -> bool:
        """Whether the node of the operator runs no more."""
        return not self._heard.get_publisher_count()

    @property
    def words(self) -> str:
        """What the operator is told; empty before anything was heard."""
        return plain_text(self._status.get("calibration", ""))

    @property
    def fits(self) -> int:
        """Calibrations that were fitted so far."""
        return self._count("calibrations_fitted")

    @property
    def refusals(self) -> int:
        """Calibrations that were refused so far."""
        return self._count("calibrations_refused")

    def _count(self, name: str) -> int:
        value = self._status.get(name)
        return value if isinstance(value, int) else 0

    @property
    def is_running(self) -> bool:
        """Whether the person is being led."""
        return bool(self._status.get("calibrating"))


def calibrate(
    cell: Cell, side: str, timeout: float, tell: Callable[[str], None]
) -> tuple[bool, str]:
    """Begin a calibration and follow it; whether it was fitted, and what is said at the end.

    Raises:
        NoCellError: no such operator is running, or not to the end.
    """
    with visit("ate_teleop_calibrate") as visitor:
        follower = _Follower(visitor, cell, side)
        client = visitor.node.create_client(Trigger, follower.service)
        found = visitor.spin_until(
            lambda: client.service_is_ready() and bool(follower.words), timeout
        )
        if not found:
            raise NoCellError(f"{side} operator", timeout)
        fits, refusals = follower.fits, follower.refusals
        answer = client.call_async(Trigger.Request())
        if not visitor.spin_until(answer.done, timeout):
            raise NoCellError(f"{side} operator", timeout)
        if not answer.result().success:
            return False, str(answer.result().message)

        def has_ended() -> bool:
            return follower.fits > fits or follower.refusals > refusals

        told, patience, begin = "", timeout, time.monotonic()

        def is_lost() -> bool:
            return follower.has_gone or (told != "" and not follower.is_running)

        def leads_on() -> bool:
            return follower.is_running and follower.words != told

        while not has_ended():
            visitor.spin_until(lambda: has_ended() or is_lost() or leads_on(), patience)
            if leads_on() and not is_lost():
                told, patience = follower.words, LONGEST
                tell(told)
            elif not has_ended():
                raise NoCellError("end of the calibration", round(time.monotonic() - begin, 1))
        return follower.fits > fits, follower.words
