"""One arm, as the node sees it: a link process that is replaced whenever it ends or falls silent.

The vendor's library lives in that process (`realman_driver.link`), so whatever it does, the node
goes on. Nothing here waits for the library: targets and stops are packets that leave at once.
"""

import logging
import math
import threading
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from arm_driver.interface import ArmIdentity, ArmSample
from ate_core.devices import ArmConfig
from ate_core.errors import DeviceError, SafetyError
from ate_core.patience import Patience
from realman_driver import records
from realman_driver.answers import Answers
from realman_driver.codes import remedies
from realman_driver.identity import misfit_of
from realman_driver.link_process import LinkProcess
from realman_driver.own_motion import StateTime
from realman_driver.protocol import (
    identity_from_record,
    joints_to_degrees,
    sample_from_push,
    wrench_doubt,
)
from realman_driver.push import Push, PushError, read_push
from realman_driver.records import Answer, Identity, Problem, Pulse, State
from realman_driver.sdk import LinkConfig

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

BEAT_PERIOD = 0.02
"""Without a target the streaming thread says this often that it lives [s]."""
STOP_TIMEOUT = 0.09
"""Longest wait for the controller to confirm a stop [s]."""
CLEAR_TIMEOUT = 6.0
"""Longest wait for the controller to clear its errors [s]."""
SETTLE_RETRY = 0.2
"""Wait after a glide that failed [s]."""
SETTLE_DEADLINE = 5.0
"""A glide without an answer for this long is asked for again [s]: the link gives its own 4 s, and
its answer may find no room."""
LARGEST_LEAD = 1 << 31
"""Epochs, which count modulo 2^32, are newer within this distance."""
FAULT_SHOWN = 0.05
"""How long a fault is told that one packet tells [s]: the driver looks at every second packet, and
the next target may clear it."""
STOP_SHOWN = 0.5
"""How long a stop of somebody else is told [s]: the mode stays until the next motion, so it does
not say when the stop is over."""


def _to_enable(sample: ArmSample) -> tuple[int, ...]:
    """Joints, from 1, with an error of their own or without enable."""
    disabled = (number for number, on in enumerate(sample.enabled, 1) if not on)
    return tuple(sorted({*sample.faulty_joints, *disabled}))


def link_config(arm: ArmConfig) -> LinkConfig:
    """What the link process must know of an arm of the cell."""
    return LinkConfig(
        ip=arm.ip,
        tcp_port=arm.tcp_port,
        udp_port=arm.udp_port,
        cycle=arm.udp_cycle_ms // 5,
        model=arm.model,
        joint_names=arm.joint_names,
        joint_speed=arm.joint_speed,
        base_pose=arm.base_pose,
        tool_length=arm.tool_length,
        payload=arm.payload_kg,
    )


class ArmClient:
    """A link to one controller that outlives the controller; see `arm_driver.interface`."""

    def __init__(self, config: ArmConfig) -> None:
        """Prepare; `start` connects.

        Args:
            config: addresses, joints and tool of the arm.
        """
        self._config = config
        self._process = LinkProcess(
            link_config(config), self._take, self._lose_link, self._note_end
        )
        self._send = self._process.send
        self._linked = False
        self._problem = ""
        self._name = f"{config.ip}:{config.tcp_port}"
        self._identity = ArmIdentity(name=self._name)
        self._pulse: Pulse | None = None
        self._newest: ArmSample | None = None
        self._sequence = 0
        self._adopted = threading.local()
        self._streamer = 0
        self._sent_at = 0.0
        self._answers = Answers()
        self._settling = 0
        self._settle_at = self._settle_by = 0.0
        self._foreign_stops = 0
        self._stopped_at = -math.inf
        self._faulty: ArmSample | None = None  # the newest with a fault
        self._state_time = StateTime()
        self._glided_at = self._streamed_at = -math.inf  # by `_state_time`
        self._push: Push | None = None
        self._broken_packets = self._links = self._own_stops = 0
        self._why_stopped = ""
        self._lost: dict[str, int] = {}
        self._session = (0, 0)
        self._patience = Patience(log, f"arm controller {self._name}")
        self.link_error = "not connected yet"
        """Why there is no link; empty while there is one."""

    @property
    def session(self) -> int:
        """Counts links; a change means that the arm may have moved or restarted meanwhile.

        The thread that streams reads it before it makes a target: targets of a thread that has
        not seen the newest session are refused.
        """
        number, self._adopted.epoch = self._session
        return number

    def start(self) -> None:
        """Connect in the background and stay connected."""
        self._process.start()

    def close(self) -> None:
        """Bring the arm to rest if it is linked, and disconnect."""
        self._process.close()

    def identity(self) -> ArmIdentity:
        """Which controller this is, as far as known."""
        return self._identity

    def latest(self) -> ArmSample | None:
        """Newest state of this link; None before the first, and for a broken push.

        The streaming thread calls it on every tick, which also tells the link process that the
        node lives.
        """
        if threading.get_ident() == self._streamer:
            now = time.monotonic()
            if now - self._sent_at > BEAT_PERIOD:
                self._sent_at = now
                self._send(records.pack_beat())
        return self._newest

    # --- commands ------------------------------------------------------------------------

    def stream(self, q: Array) -> bool:
        """Send one pass-through target (n,) [rad]; False when it did not leave.

        True says only that it left for the link process: watch the measured joints. A target that
        was made before the link stopped the arm by itself is refused there.

        Raises:
            SafetyError: not one finite number per joint, which the SDK would send as something
                else.
        """
        joints = len(self._config.joint_names)
        if q.shape != (joints,) or not np.all(np.isfinite(q)):
            raise SafetyError(f"joint target {q} is not {joints} finite numbers: not sent")
        self._streamer = threading.get_ident()
        if not self._linked:
            return False
        self._sent_at = now = time.monotonic()
        self._streamed_at = self._state_time.now
        epoch = getattr(self._adopted, "epoch", 0)
        return self._send(records.pack_stream(epoch, now, tuple(joints_to_degrees(q))))

    def stop(self, *, fast: bool = False) -> bool:
        """Let the controller brake; False when it did not confirm in time.

        Confirmed is a stop by the controller's answer, or by its state that says so. The streaming
        thread does not wait: there True says that the stop left for the link process.
        """
        ticket = self._answers.ticket()
        self._answers.forget(self._settling)
        self._settling = 0
        sent = self._linked and self._send(records.pack_stop(ticket, fast))
        if not sent or threading.get_ident() == self._streamer:
            self._answers.forget(ticket)
            return sent
        answer = self._answers.wait(ticket, STOP_TIMEOUT)
        return answer is not None and answer.code == 0

    def settle(self, q: Array) -> bool:
        """Let the controller's set point glide to the measured joints (n,) [rad].

        It is a slow planned move to where the arm is, which takes the pressure from an arm that
        its last target pushed against something. The link begins it when the arm rests, and only
        where the controller's newest state agrees with ``q``. Call it until it is True.
        """
        now = time.monotonic()
        self._glided_at = self._state_time.now
        if self._settling == 0:
            if self._linked and now >= self._settle_at:
                ticket = self._answers.ticket()
                if self._send(records.pack_settle(ticket, tuple(joints_to_degrees(q)))):
                    self._settling, self._settle_by = ticket, now + SETTLE_DEADLINE
                else:
                    self._answers.forget(ticket)
            return False
        waits, answer = self._answers.look(self._settling)
        if waits and now < self._settle_by:
            return False
        self._answers.forget(self._settling)
        self._settling = 0
        if answer is not None and answer.code == 0:
            return True
        self._settle_at = now + SETTLE_RETRY
        return False

    def health(self) -> dict[str, str]:
        """Counters of the link process and of those before it."""
        pulse = self._pulse
        values = {
            "links made": str(self._links),
            "link processes started": str(self._process.started),
            "records refused": str(self._process.lost_records),
            "state packets not understood": str(self._broken_packets),
        }
        lost = dict(self._lost)  # another thread may add a reason
        values |= {f"links lost: {reason}": str(count) for reason, count in lost.items()}
        if self._own_stops:
            values["stops by the link"] = f"{self._own_stops}, last: {self._why_stopped}"
        push = self._push
        if push is not None:
            values |= remedies(push.errors, push.joint_errors)
            silent = wrench_doubt(push)
            values |= {"force sensor": silent} if silent else {}
        if pulse is not None:
            values |= {
                "targets given to the SDK": str(pulse.frames),
                "targets refused by the link": str(pulse.refused),
                "state packets": str(pulse.pushes),
                "state packets repeated": str(pulse.repeated),
            }
        return values

    def clear_errors(self) -> None:
        """Clear system and joint errors and enable the joints again.

        Raises:
            DeviceError: no link, or the controller refused.
        """
        newest = self._newest
        joints = () if newest is None else _to_enable(newest)
        ip = self._config.ip
        ticket = self._answers.ticket()
        if not self._linked or not self._send(records.pack_clear(ticket, joints)):
            self._answers.forget(ticket)
            raise DeviceError(f"arm {ip} is not connected: {self.link_error}")
        answer = self._answers.wait(ticket, CLEAR_TIMEOUT)
        if answer is None or answer.code != 0:
            why = "no answer" if answer is None else answer.text
            raise DeviceError(
                f"arm {ip} did not clear its errors ({why}): look at the arm, then switch it off "
                "and on"
            )

    # --- reports of the link process, in its keeper's thread ------------------------------

    def _lose_link(self, reason: str) -> bool:
        was_linked, self._linked = self._linked, False
        self._newest = self._faulty = None
        self.link_error = self._problem or f"the link process {reason}"
        self._answers.give_up("the link was lost")
        return was_linked

    def _note_end(self, reason: str, was_linked: bool) -> None:
        problem, self._problem = self._problem, ""
        if self._process.closing:
            self.link_error = "closed"
            return
        if was_linked or not problem:
            why = problem.split(" for ")[0] if problem else reason
            self._lost[why] = self._lost.get(why, 0) + 1
        self._report(problem or f"link process of arm {self._config.ip} {reason}: started again")

    def _take(self, report: records.Report) -> None:
        if isinstance(report, State):
            self._take_state(report)
        elif isinstance(report, Pulse):
            self._pulse = report
            self._take_epoch(report.epoch)
        elif isinstance(report, Answer) and report.ticket == 0:
            self._own_stops, self._why_stopped = self._own_stops + 1, report.text
            log.warning("the link stopped arm %s by itself: %s", self._config.ip, report.text)
        elif isinstance(report, Answer):
            self._answers.take(report)
        elif isinstance(report, Identity):
            misfit = misfit_of(report, self._config)
            self._identity = identity_from_record(report, self._name, misfit)
            if misfit:  # the link process leaves such a controller as it is, and ends
                return
            self._session = (self._session[0] + 1, self._process.first_epoch)
            self._links, self._foreign_stops = self._links + 1, 0
            self._linked = True
            self._problem = self.link_error = ""
            self._patience.well(f"connected to {self._name}")
            self._patience.end()
        elif isinstance(report, Problem):
            self._problem = report.text
            self._report(report.text)

    def _take_epoch(self, epoch: int) -> None:
        """Heed that older targets are void: the link stopped the arm, or somebody else did.

        Two threads of the link report it, so one that is older may come later.
        """
        ahead = (epoch - self._session[1]) & 0xFFFFFFFF
        if self._linked and 0 < ahead < LARGEST_LEAD:
            self._session = (self._session[0] + 1, epoch)

    def _take_state(self, state: State) -> None:
        self._take_epoch(state.epoch)
        if not self._linked:  # a new link counts the stops of others from its own beginning
            self._foreign_stops = state.foreign_stops
        try:
            push = read_push(state.packet, len(self._config.joint_names))
        except PushError as error:
            self._broken_packets += 1
            log.debug("%s", error)
            return
        self._sequence += 1
        self._push = push
        now = state.received
        self._state_time.advance(now)
        if state.foreign_stops != self._foreign_stops:
            self._foreign_stops = state.foreign_stops
            # The controller stops by itself too, and then says why.
            explained = push.errors or any(push.joint_errors) or not all(push.enabled)
            self._stopped_at = -math.inf if explained else now
        sample = sample_from_push(
            push,
            joints=len(self._config.joint_names),
            sequence=self._sequence,
            received=state.received,
            stamp_ns=state.stamp_ns,
            gliding=self._settling != 0 or self._state_time.is_recent(self._glided_at),
            streaming=self._state_time.is_recent(self._streamed_at),
            stopped=now - self._stopped_at < STOP_SHOWN,
        )
        if sample.fault:
            self._faulty = sample
        elif self._faulty is not None and now - self._faulty.received < FAULT_SHOWN:
            told = self._faulty
            sample = replace(sample, fault=told.fault, faulty_joints=told.faulty_joints)
        self._newest = sample

    def _report(self, error: str) -> None:
        self._patience.trouble(error)
        self.link_error = error
