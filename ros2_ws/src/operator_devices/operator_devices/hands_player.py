"""Plays recorded hands through emulated devices: the same messages, at their own times.

Before a recording begins, the hand rests where it begins and no button is held, for as long as the
readers need to find their devices. Time is an argument.
"""

import heapq
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ate_core.devices import OperatorConfig
from ate_core.errors import EpisodeError
from operator_devices.hand_pose import Matrix
from operator_devices.hands_file import MATRICES, HandsRecording, HeadsetMessage, JoyConReport
from operator_devices.joycon_emulator import JoyConEmulator
from operator_devices.vision_pro_emulator import HeadsetEmulator, HeadsetEmulatorConfig

REST_PERIOD = 0.0125
"""Time between two messages of a hand that rests [s]; each device needs them more seldom."""
REST_NOISE = 2e-5
"""How far resting hand and head shake: what never changes counts as not tracked [m]."""

LONGEST_STALL = 0.12
"""Longest gap before a bunch of messages that is a stall of the reading process [s]; the clutch
opens at longer ones, as it did when they were recorded."""
EVEN = 0.9
"""Least spacing of messages, as part of the median one: streams are even but for such stalls."""

Act = Callable[[], None]
Entry = TypeVar("Entry", HeadsetMessage, JoyConReport)


class ReplayedOperator:
    """The emulated headset and Joy-Con of one operator, which a recording moves."""

    def __init__(self, operator: OperatorConfig, joycon_dir: Path, recording: HandsRecording):
        """Prepare the devices; entering the context starts them.

        Args:
            operator: whose addresses the devices have.
            joycon_dir: folder of the sockets of emulated Joy-Cons.
            recording: what is played.

        Raises:
            EpisodeError: it holds no pose or no report.
        """
        first = next((one.matrices for one in recording.headset if _is_sound(one)), None)
        if first is None or not recording.joycon:
            raise EpisodeError(f"nothing to play: {'; '.join(recording.notes) or 'no sound pose'}")
        self._recording = recording
        self._pose: Mapping[str, Matrix | None] = first  # the newest sound one
        self._shakes = 0
        heads = (one.matrices["head"] for one in recording.headset if _is_sound(one))
        self._head_rests = len({head.tobytes() for head in heads if head is not None}) == 1
        self._headset = HeadsetEmulator(
            operator.headset_ip, operator.headset_port, HeadsetEmulatorConfig(paced=False)
        )
        self._joycon = JoyConEmulator(operator.joycon_serial, operator.joycon_side, joycon_dir)

    def __enter__(self) -> "ReplayedOperator":
        self._headset.start()
        try:
            self._joycon.start()
        except BaseException:
            self._headset.stop()
            raise
        self._joycon.mute()
        return self

    def __exit__(self, *_: object) -> None:
        self._joycon.stop()
        self._headset.stop()

    def rest(self, buttons: frozenset[str] = frozenset()) -> None:
        """Send one message of a hand that rests where it is, at first where the recording begins.

        Args:
            buttons: held meanwhile.
        """
        self._rest_hand()
        self._report(JoyConReport(t=0.0, buttons=buttons))

    def acts(self, start_ns: int, until: float) -> Iterator[tuple[float, Act]]:
        """What is to be done, by its time [s]; before and after its recording the hand rests.

        Args:
            start_ns: Unix time of 0 [ns].
            until: end [s].
        """
        offset = (self._recording.header.start_ns - start_ns) * 1e-9
        yield from heapq.merge(
            self._of_one(self._recording.headset, self._send, self._rest_hand, offset, until),
            self._of_one(
                self._recording.joycon,
                self._report,
                partial(self._report, JoyConReport(t=0.0)),
                offset,
                until,
            ),
            key=lambda act: act[0],
        )

    @staticmethod
    def _of_one(
        entries: Sequence[Entry],
        act: Callable[[Entry], None],
        rest: Act,
        offset: float,
        until: float,
    ) -> Iterator[tuple[float, Act]]:
        """What one device does."""
        times = offset + even_times([one.t for one in entries])
        yield from ((t, rest) for t in np.arange(0.0, times[0], REST_PERIOD).tolist())
        yield from zip(times.tolist(), (partial(act, one) for one in entries), strict=True)
        yield from ((t, rest) for t in np.arange(times[-1], until, REST_PERIOD).tolist())

    def _rest_hand(self) -> None:
        self._headset.send(self._shaken(self._pose, MATRICES))

    def _shaken(
        self, matrices: Mapping[str, Matrix | None], names: Collection[str]
    ) -> dict[str, Matrix | None]:
        """A message in which some of the poses shake, the head against the hands."""
        self._shakes += 1
        offset = np.zeros((4, 4))
        offset[0, 3] = REST_NOISE * (self._shakes % 5 - 2)
        shakes = {name: -offset if name == "head" else offset for name in names}
        return {
            name: None if one is None else one + shakes.get(name, 0.0)
            for name, one in matrices.items()
        }

    def _send(self, message: HeadsetMessage) -> None:
        if _is_sound(message):
            self._pose = message.matrices
        # Of a head that was not recorded, as in a bag, there is but one pose.
        names = ("head",) if self._head_rests else ()
        self._headset.send(self._shaken(message.matrices, names) if names else message.matrices)

    def _report(self, report: JoyConReport) -> None:
        self._joycon.hold(report.buttons)
        self._joycon.set_stick(*report.stick)
        self._joycon.set_battery(report.battery, charging=report.charging)
        self._joycon.send_report()


def _is_sound(message: HeadsetMessage) -> bool:
    """Whether the head and a wrist were poses at all."""
    wrists = [message.matrices[name] for name in MATRICES if name != "head"]
    return message.matrices["head"] is not None and any(one is not None for one in wrists)


def even_times(received: Sequence[float]) -> NDArray[np.float64]:
    """When messages were sent that were received at these times [s], up to a constant delay.

    A process that stood still for a moment finds all that came meanwhile at once. Whoever read
    them then did not count the moment as silence of the device, as its next reader would.
    """
    times = np.array(received, dtype=np.float64)
    if len(times) < 3:
        return times
    gaps = np.diff(times)
    spacing = EVEN * float(np.median(gaps))
    for index in range(len(times) - 2, -1, -1):
        if index == 0 or gaps[index - 1] <= LONGEST_STALL:
            times[index] = min(times[index], times[index + 1] - spacing)
    return times


def play(
    acts: Iterable[tuple[float, Act]],
    begin: float,
    clock: Callable[[], float],
    stop: threading.Event,
) -> float:
    """Do each act at its time until the last one, or until `stop` is set.

    Args:
        acts: in the order of their times [s].
        begin: time of the clock that is 0 in the recording [s].
        clock: monotonic time [s].
        stop: ends it.

    Returns:
        The longest delay of an act [s].
    """
    worst = 0.0
    for t, act in acts:
        while not stop.is_set() and (left := begin + t - clock()) > 0.0:
            stop.wait(left)
        if stop.is_set():
            break
        act()
        worst = max(worst, clock() - begin - t)
    return worst
