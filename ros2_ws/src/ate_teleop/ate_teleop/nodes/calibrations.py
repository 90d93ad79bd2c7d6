"""Keeps the calibration of one operator: the service that begins one, the file, the log."""

from contextlib import suppress
from queue import Empty, SimpleQueue

from rclpy.node import Node
from std_srvs.srv import Trigger

from ate_core.contract import Cell
from ate_core.errors import ContractError
from ate_core.nodes.parameters import declare_text
from ate_teleop.calibration import HandCalibration
from ate_teleop.calibration_file import calibration_path, load_calibration, save_calibration
from ate_teleop.calibrator import UNCALIBRATED, CalibrationNews
from ate_teleop.operator import OperatorController

AGAIN = "`ate teleop-calibrate` makes a new one"
STORING = 0.2
"""How often the loop's results are looked for, to be stored beside it [s]."""


class Calibrations:
    """Takes over what is stored at the start, and stores what comes."""

    def __init__(
        self,
        node: Node,
        controller: OperatorController,
        cell: Cell,
        side: str,
        *,
        are_kept: bool = True,
    ) -> None:
        """Load the file of the operator and offer the service.

        Args:
            node: to speak for.
            controller: that is calibrated.
            cell: the cell.
            side: of the operator.
            are_kept: False where recorded hands are followed: they bring their own calibration,
                and a gesture of theirs is not the person's of today.
        """
        folder = declare_text(
            node, "calibrations", "", "folder of the operators' calibrations; empty: the user's"
        )
        self._logger, self._clock, self._controller = (
            node.get_logger(),
            node.get_clock(),
            controller,
        )
        self._cell, self._side = cell, side
        self._path = calibration_path(folder, cell, side)
        self._results: SimpleQueue[HandCalibration] = SimpleQueue()
        self._are_kept = are_kept
        self.at_start: HandCalibration | None = None
        """What was taken over."""
        if are_kept:
            self._load()
        node.create_service(Trigger, cell.topics.calibrate, self._asked)
        node.create_timer(STORING, self._store)

    def take(self, news: CalibrationNews | None) -> None:
        """Tell what the loop brings, and have it stored; never waits for the disk."""
        if news is None:
            return
        if news.result is not None:
            self._results.put(news.result)
        if news.good:
            self._logger.info(news.sentence)
        else:
            self._logger.warning(news.sentence)

    def _now(self) -> float:
        """Wall time [s since 1970]: a calibration ages while nothing runs."""
        return float(self._clock.now().nanoseconds) * 1e-9

    def _load(self) -> None:
        try:
            found = load_calibration(self._path, self._cell, self._side, self._now())
        except ContractError as error:
            self._controller.calibrator.take_over(None, f"{UNCALIBRATED}; not taken over: {error}")
            self._logger.warning(f"calibration not taken over: {error}; {AGAIN}")
            return
        if found is None:
            return
        calibration, age = found
        self.at_start = calibration
        said = f"{calibration.sentence()}; made {age / 60.0:.0f} min ago"
        self._controller.calibrator.take_over(calibration, said)
        if calibration.void:
            self._logger.warning(f"calibration is {said}")
        else:
            self._logger.info(
                f"calibration taken over: {said}; where the headset's app was started anew since, "
                f"{AGAIN}"
            )

    def _asked(self, _: Trigger.Request, answer: Trigger.Response) -> Trigger.Response:
        answer.success = not self._controller.calibrator.is_running
        if answer.success:
            self._controller.ask_calibration()
            answer.message = "asked for: operator/status leads on"
        else:
            answer.message = f"under way already: {self._controller.calibrator.words}"
        return answer

    def stop(self) -> None:
        """Store what came since the last look; the loop has ended."""
        self._store()

    def _store(self) -> None:
        """Store the newest of what came since the last look; may wait for the disk."""
        calibration = None
        with suppress(Empty):
            while True:
                calibration = self._results.get_nowait()
        if calibration is None:
            return
        if not self._are_kept:
            self._logger.info("calibration of replayed hands: not stored")
            return
        try:
            save_calibration(self._path, calibration, self._cell, self._side, self._now())
        except OSError as error:
            self._logger.warning(
                f"calibration holds until this node ends: {self._path} cannot be written "
                f"({error.strerror}); check its owner, or name another folder with calibrations:="
            )
        else:
            self._logger.info(f"calibration stored in {self._path}")
