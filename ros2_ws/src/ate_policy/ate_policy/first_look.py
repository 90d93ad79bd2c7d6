"""What is compared and said before a policy counts as ready."""

import logging

import simplejpeg

from ate_core.contract import Cell
from ate_core.errors import CheckpointError
from ate_core.trained_for import TrainedOn, findings, picture_finding
from ate_policy.pace import pace_finding
from ate_policy.robot_policy import RobotPolicy

logger = logging.getLogger("policy")


def compare_training(policy: RobotPolicy, cell: Cell, instruction: str) -> TrainedOn:
    """Compare what a policy was trained on with the cell, and warn of what differs.

    Args:
        policy: as loaded.
        cell: that it shall drive.
        instruction: that it is given; empty: none.

    Raises:
        CheckpointError: it would see or mean something else than in its training.
    """
    trained = TrainedOn.read(
        policy.contract,
        {"cameras": policy.config.cameras, "language": policy.config.language},
        policy.statistics.to_dict(),
        policy.training,
    )
    found = findings(trained, cell, instruction)
    for finding in found:
        if finding.status == "warn":
            logger.warning("%s", finding.text)
    if failures := [finding.text for finding in found if finding.status == "fail"]:
        raise CheckpointError("; ".join(failures))
    return trained


def tell_pace(policy: RobotPolicy, inference: float, execute: int, tick_rate: float) -> None:
    """Warn of a policy that is too slow here, with the rate to expect.

    Args:
        policy: as loaded.
        inference: duration of one inference, as measured [s].
        execute: actions between the observations of two chunks [ticks].
        tick_rate: of the cell [Hz].
    """
    slow = pace_finding(inference, execute, policy.horizon, tick_rate, policy.device.type)
    if slow is not None:
        logger.warning("%s", slow.text)


def tell_picture(trained: TrainedOn, camera: str, jpeg: bytes) -> None:
    """Warn of a camera whose first picture has another aspect than in the training."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    except ValueError:  # the decoder of the observation refuses it by name
        return
    if (odd := picture_finding(trained, camera, width, height)) is not None:
        logger.warning("%s", odd.text)
