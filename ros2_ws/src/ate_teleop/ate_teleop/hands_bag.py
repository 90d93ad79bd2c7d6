"""Hands taken out of a recorded episode: what its bag holds of each operator.

A bag has the tracked wrists, buttons, stick and the measured joints, with the stamps of their
receipt, and the scale and the calibration that held when it began. It has no head and no battery:
the head is played at rest, the battery as full.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import AteError, EpisodeError
from ate_core.geometry import pose_to_matrix
from ate_core.json_text import UNREADABLE, plain_text, read_document
from ate_core.streams import StreamSpec, cell_streams, header_stamp_ns, read_value
from ate_teleop.bag_messages import read_bag_messages
from ate_teleop.calibrator import UNCALIBRATED
from operator_devices.hand_pose import TRANSFORM_ARKIT_TO_HEADSET, TRANSFORM_HEADSET_TO_ARKIT
from operator_devices.hands_file import (
    HandsHeader,
    HandsRecording,
    HeadsetMessage,
    JoyConReport,
    check_step,
    checked_report,
    settings_of,
)
from operator_devices.joycon_report import AXES, BUTTONS

Array = NDArray[np.float64]

HEAD_TO_HEADSET = pose_to_matrix([0.0, 0.0, 1.5, 0.0, 0.0, 0.0, 1.0])
"""Where the head is played (4, 4): a person who stands and looks ahead."""
REPORT_PERIOD = 0.015
"""Spacing of a Joy-Con's reports, of which a bag keeps those that changed and every second [s]."""
LONGEST_THINNING = 0.07
"""Longest time between two messages of a Joy-Con that reports all the while [s]."""
SCALE_STEP = 1e-3
"""Difference of scales from which on they are not the same: a status rounds to it."""
NOTE = "it holds no head and no battery: the head is played at rest, the Joy-Con as full"


def is_bag(path: Path) -> bool:
    """Whether a path is the folder of a recorded episode."""
    return (path / "metadata.yaml").is_file()


def hands_of_bag(folder: Path) -> dict[str, HandsRecording]:
    """Take the hands of each operator out of an episode: side -> recording.

    Raises:
        EpisodeError: the bag cannot be read, holds too little of every operator, or what no
            device can have sent.
    """
    try:
        cell, messages = _read(folder)
    except AteError:
        raise
    except Exception as error:  # the readers of bags raise anything on rotten bytes
        raise EpisodeError(
            f"{folder} cannot be read ({error}); run 'ate repair --bag {folder}'"
        ) from error
    found = {}
    for side in cell.operators:
        try:
            found[side] = _hands(folder, cell, side, messages)
        except UNREADABLE as error:
            raise EpisodeError(
                f"{folder} holds hands of the {side} operator that cannot be played: {error}"
            ) from error
    whole = {side: one for side, one in found.items() if one.headset and one.joycon}
    if not whole:
        raise EpisodeError(
            f"{folder} holds no wrist or no button of any operator: nobody teleoperated in it"
        )
    return whole


def _read(folder: Path) -> tuple[Cell, dict[str, list[Any]]]:
    """The cell of an episode and, by stream, the messages that are wanted of it."""

    def cell_of(info: dict[str, Any]) -> Cell:
        return parse_cell_text(info["contract"], f"contract of {folder.name}")

    return read_bag_messages(folder, cell_of, _is_wanted)


def _is_wanted(spec: StreamSpec) -> bool:
    ends = ("_wrist_pose", "_joy", "_operator_status")
    return spec.kind == "joints" or spec.name.endswith(ends)


def _hands(folder: Path, cell: Cell, side: str, messages: dict[str, list[Any]]) -> HandsRecording:
    arm = cell.operators[side].arm
    wrists, joys = messages[f"{arm}_wrist_pose"], messages[f"{arm}_joy"]
    joints = messages[f"{arm}_arm_state"]
    stamps = [header_stamp_ns(one) for one in (*wrists, *joys, *joints)]
    start_ns = min(stamps, default=0)
    settings, calibration = _held(cell, side, messages[f"{arm}_operator_status"])
    spec = next(one for one in cell_streams(cell) if one.name == f"{arm}_arm_state")

    def seconds(message: Any) -> float:
        return float((header_stamp_ns(message) - start_ns) * 1e-9)

    for kept in (wrists, joys, joints):
        _check_times(sorted(seconds(one) for one in kept))
    times: list[float] = []
    postures: list[Array] = []
    for message in joints:
        if not times or seconds(message) > times[-1]:
            times.append(seconds(message))
            values = np.asarray(read_value(spec, message), dtype=np.float64)
            postures.append(values[: len(spec.joint_names)])
    return HandsRecording(
        header=HandsHeader(
            start_ns=start_ns,
            side=side,
            cell=cell.name,
            hardware=cell.hardware,
            joint_names=spec.joint_names,
            settings=settings,
            calibration=calibration,
            source="bag",
        ),
        headset=tuple(
            _message(seconds(one), one, cell.operators[side].hand)
            for one in sorted(wrists, key=seconds)
        ),
        joycon=tuple(_reports((seconds(one), one) for one in joys)),
        joint_times=np.array(times, dtype=np.float64),
        joints=np.array(postures).reshape(-1, len(spec.joint_names)),
        notes=(f"{folder.name}, {side} operator: {NOTE}",),
    )


def _held(cell: Cell, side: str, statuses: list[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The operator's settings and calibration when the episode began, see `HandsHeader`.

    Raises:
        ValueError: they cannot be told.
    """
    settings = settings_of(cell, side)
    status = read_document(statuses[0].data) if statuses else {}  # a bag begins with what stands
    scale = status.get("scale", settings["scale"])
    if not isinstance(scale, int | float) or not abs(scale - settings["scale"]) < SCALE_STEP:
        settings["scale"] = scale
    words = plain_text(status.get("calibration", UNCALIBRATED))
    if "calibrated" not in status and UNCALIBRATED not in words:
        raise ValueError(
            f"they were calibrated ({words}), and the numbers were not recorded: record anew"
        )
    calibration = status.get("calibrated", {})
    if not isinstance(calibration, dict):
        raise ValueError(f"their status says calibrated {plain_text(calibration)}; need numbers")
    return settings, calibration


def _check_times(times: Sequence[float]) -> None:
    for before, t in pairwise((0.0, *times)):
        check_step(t, before)


def _message(t: float, stamped: Any, hand: str) -> HeadsetMessage:
    """A wrist in the headset's frame as the message that the headset may have sent."""
    point, turn = stamped.pose.position, stamped.pose.orientation
    wrist = pose_to_matrix([point.x, point.y, point.z, turn.x, turn.y, turn.z, turn.w])
    arkit_head = TRANSFORM_HEADSET_TO_ARKIT @ HEAD_TO_HEADSET @ TRANSFORM_ARKIT_TO_HEADSET
    matrices = {"head": arkit_head, "left": np.eye(4), "right": np.eye(4)}
    return HeadsetMessage(t=t, matrices={**matrices, hand: TRANSFORM_HEADSET_TO_ARKIT @ wrist})


def _reports(joys: Iterable[tuple[float, Any]]) -> list[JoyConReport]:
    """Reports at their own rate: a bag leaves out what did not change.

    Raises:
        ValueError: a message is none of a Joy-Con.
    """
    reports: list[JoyConReport] = []
    for t, joy in sorted(joys, key=lambda one: one[0]):  # stamps of receipt may cross
        if reports and t - reports[-1].t <= LONGEST_THINNING:
            last = reports[-1]
            reports += [
                JoyConReport(t=between, buttons=last.buttons, stick=last.stick)
                for between in np.arange(last.t + REPORT_PERIOD, t - 0.001, REPORT_PERIOD).tolist()
            ]
        if (len(joy.buttons), len(joy.axes)) != (len(BUTTONS), len(AXES)):
            raise ValueError(
                f"a message has {len(joy.buttons)} buttons and {len(joy.axes)} axes; need "
                f"{len(BUTTONS)} and {len(AXES)}"
            )
        pressed = (name for name, down in zip(BUTTONS, joy.buttons, strict=True) if down)
        reports.append(checked_report(t, pressed, joy.axes))
    return reports
