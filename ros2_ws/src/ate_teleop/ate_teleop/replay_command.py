"""`ate teleop-replay`: recorded hands through the whole live chain, and where the arms go."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

from ate_core.contract import Cell, load_cell
from ate_core.errors import DeviceError, UsageError
from ate_core.loop import running_beside
from ate_core.operator_hands import REPLAY, joycon_folder, replayed_operator
from ate_teleop.hands_bag import hands_of_bag, is_bag
from ate_teleop.replay_calibration import as_if_uncalibrated
from ate_teleop.replay_checks import check_cell, check_posture, has_arrived, home_button
from ate_teleop.stroke_comparison import LARGEST_GAP, JointPath, StrokeDifference, compare
from operator_devices.hands_file import HandsRecording, check_session, read_session
from operator_devices.hands_player import REST_PERIOD, ReplayedOperator, play

if TYPE_CHECKING:
    from ate_teleop.nodes.replay_watch import ReplayWatch

THREAD = "replayed hands"
"""Name of the thread that plays."""
LOOK = 5.0
"""How long a running cell is looked for [s]."""
FIND = 20.0
"""How long operators may take to find their replayed devices [s]."""
HOME_PRESS, HOME_PRESSES = 5.0, 5
"""How long home is held at a time [s], and how often."""
TAIL = 0.6
"""How long the arms are heard after the last message: they come to rest meanwhile [s]."""
BOUND_MM, BOUND_DEG, BOUND_RMS_MM = 30.0, 5.0, 5.0
"""A hiccup of 0.1 s, which the clutch outlives, leaves a hand at 0.3 m/s 30 mm behind; a lasting
difference beyond 5 mm would miss a grasp."""


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """Play recorded hands into a cell launched with hands:=replay, and compare the arms' ways.

    The exit code is 0 where every arm went the way of the recording, 1 where one did not or the
    replay was refused, 3 where no cell runs.
    """

    file: tyro.conf.Positional[Path]
    """Folder of a session, or one operator's file, as hands_record:=FOLDER writes them; or the
    folder of a recorded episode."""
    cell: str | None = None
    """cell.yaml, or the name of a packaged cell; None: the packaged one."""
    real: bool = False
    """Move the arms of a real cell. Without it only a simulated one is played into."""
    home: bool = False
    """Hold the home buttons first, until the arms are where the recording starts."""
    bound_mm: float = BOUND_MM
    """Largest distance between the tool's ways that passes [mm]."""
    bound_rms_mm: float = BOUND_RMS_MM
    """Largest root mean square of the distance that passes [mm]."""
    bound_deg: float = BOUND_DEG
    """Largest angle between them that passes [deg]."""
    json: bool = False
    """Print the differences as JSON."""

    def __post_init__(self) -> None:
        for name in ("bound_mm", "bound_rms_mm", "bound_deg"):
            if not 0.0 < getattr(self, name) < 1e6:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}; need > 0")


def teleop_replay(config: ReplayConfig) -> int:
    """Play, compare, print; returns the exit code.

    Raises:
        EpisodeError: the file cannot be played.
        NoCellError: no cell runs.
        DeviceError: the cell is not ready for a replay.
    """
    from ate_teleop.nodes.replay_watch import replay_watch

    session = hands_of_bag(config.file) if is_bag(config.file) else read_session(config.file)
    for note in (note for one in session.values() for note in one.notes):
        print(f"note: {note}", file=sys.stderr)
    check_session(session)
    cell = load_cell(config.cell, "real" if config.real else "sim")
    for side, recording in session.items():
        check_cell(cell, side, recording)
    session = {side: as_if_uncalibrated(one, cell) for side, one in session.items()}
    with replay_watch(cell, tuple(session)) as watch:
        _check_operators(watch.statuses(LOOK), config.real)
        with _devices(cell, session) as devices:
            _find(watch, devices)
            if config.home:
                _go_home(cell, watch, devices, session)
            check_posture(cell, {side: watch.posture(side) for side in session}, session)
            differences = _play(cell, watch, devices, session)
        return _judge(config, differences, watch.losses)


def _check_operators(statuses: Mapping[str, Mapping[str, object]], real: bool) -> None:
    for side, status in statuses.items():
        if status.get("hardware") != ("real" if real else "sim"):
            raise DeviceError(
                f"the {side} operator is of a {status.get('hardware')} cell: "
                + ("leave out --real" if real else "a replay moves its arms; --real says that")
            )
        if status.get("hands") != REPLAY:
            raise DeviceError(
                f"the {side} operator follows its own headset: launch the cell with hands:=replay"
            )


@contextmanager
def _devices(
    cell: Cell, session: Mapping[str, HandsRecording]
) -> Iterator[dict[str, ReplayedOperator]]:
    folder = joycon_folder(cell)
    with ExitStack() as stack:
        yield {
            side: stack.enter_context(
                ReplayedOperator(replayed_operator(cell, side), folder, recording)
            )
            for side, recording in session.items()
        }


def _rest(
    watch: "ReplayWatch",
    devices: Mapping[str, ReplayedOperator],
    done: Callable[[], bool],
    buttons: Mapping[str, frozenset[str]],
    timeout: float,
) -> bool:
    """Rest until something is done, for `timeout` [s] at most; whether it was."""
    stop = threading.Event()

    def rest() -> None:
        while not stop.wait(REST_PERIOD):
            for side, device in devices.items():
                device.rest(buttons.get(side, frozenset()))

    with running_beside(rest, stop, THREAD):
        deadline = time.monotonic() + timeout
        while not (is_done := done()) and time.monotonic() < deadline:
            watch.spin(0.05)
    return is_done


def _find(watch: "ReplayWatch", devices: Mapping[str, ReplayedOperator]) -> None:
    """Wait until every operator sees its hand, its Joy-Con and its arm.

    Raises:
        DeviceError: one does not.
    """

    def missing() -> list[str]:
        return [
            f"the {side} operator has no {part}"
            for side, status in watch.statuses(LOOK).items()
            for part, key in (("hand", "tracked"), ("Joy-Con", "joycon"), ("arm", "arm"))
            if not status.get(key)
        ] + [
            f"nothing is heard of the {side} arm"
            for side in devices
            if watch.posture(side) is None
        ]

    if not _rest(watch, devices, lambda: not missing(), {}, FIND):
        raise DeviceError(
            f"{', '.join(missing())} after {FIND:g} s: look at `ate status` and the launch's log"
        )


def _go_home(
    cell: Cell,
    watch: "ReplayWatch",
    devices: Mapping[str, ReplayedOperator],
    session: Mapping[str, HandsRecording],
) -> None:
    """Hold home until the arms stand there; pressed anew now and then."""

    def are_there() -> bool:
        return all(
            has_arrived(watch.path(side, 0), np.asarray(cell.arms[side].home)) for side in session
        )

    held = {side: home_button(cell, side) for side in session}
    for _ in range(HOME_PRESSES):
        if _rest(watch, devices, are_there, held, HOME_PRESS):
            break
        _rest(watch, devices, lambda: False, {}, TAIL)  # a barred button must be let go once
    _rest(watch, devices, lambda: False, {}, 2.0 * TAIL)  # the arms come to rest, and stay there


def _play(
    cell: Cell,
    watch: "ReplayWatch",
    devices: Mapping[str, ReplayedOperator],
    session: Mapping[str, HandsRecording],
) -> dict[str, StrokeDifference]:
    """Play the session and compare the ways of all its arms.

    Raises:
        DeviceError: an arm fell silent.
    """
    first_ns = min(one.header.start_ns for one in session.values())
    seconds = max(
        one.duration + (one.header.start_ns - first_ns) * 1e-9 for one in session.values()
    )
    hands = (one.acts(first_ns, seconds + 2.0 * TAIL) for one in devices.values())
    acts = merge(*hands, key=lambda act: act[0])
    watch.forget()
    print(f"playing {seconds:.1f} s of {' and '.join(session)} hands", file=sys.stderr)
    stop, begin, begin_ns = threading.Event(), time.monotonic(), watch.now_ns
    hands_play = partial(play, acts, begin, time.monotonic, stop)
    with running_beside(hands_play, stop, THREAD):
        watch.spin(seconds + TAIL)
    differences = {}
    for side, recording in session.items():
        times = recording.joint_times + (recording.header.start_ns - first_ns) * 1e-9
        first = JointPath(times=times, joints=recording.joints)
        differences[side] = compare(cell.arms[side], first, watch.path(side, begin_ns))
    return differences


def _judge(
    config: ReplayConfig, differences: Mapping[str, StrokeDifference], losses: list[str]
) -> int:
    """Print what differs and return the exit code."""
    bounds = 1e-3 * config.bound_mm, 1e-3 * config.bound_rms_mm, np.deg2rad(config.bound_deg)
    problems = []
    for side, one in differences.items():
        print(f"{side} tool: {one.sentence()}")
        found = one.position_max, one.position_rms, one.angle_max
        if not all(value <= bound for value, bound in zip(found, bounds, strict=True)):
            problems.append(
                f"the {side} arm went another way than recorded: allowed are "
                f"{config.bound_mm:g} mm, RMS {config.bound_rms_mm:g} mm and "
                f"{config.bound_deg:g} deg"
            )
        if one.gap > LARGEST_GAP:
            problems.append(f"the {side} arm was silent for {one.gap:.1f} s: not compared there")
    if not any(one.moved for one in differences.values()):
        problems.append("no arm moves in the recording: nothing was compared")
    for loss in losses:
        print(f"note: {loss}")
    for problem in problems:
        print(f"FAIL: {problem}")
    if config.json:
        print(json.dumps({side: asdict(one) for side, one in differences.items()}, indent=2))
    elif not problems:
        print("PASS")
    return 1 if problems else 0
