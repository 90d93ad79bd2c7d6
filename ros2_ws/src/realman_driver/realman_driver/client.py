"""One arm, as the node sees it: a link process that is replaced whenever it ends or falls silent.

The vendor's library lives in that process (`realman_driver.link`), so whatever it does, the node
goes on. Nothing here waits for the library: targets and stops are packets that leave at once.
"""

import dataclasses
import json
import logging
import math
import os
import socket
import subprocess
import sys
import threading
import time

import numpy as np
from numpy.typing import NDArray

from arm_driver.interface import ArmIdentity, ArmSample
from ate_core.devices import ArmConfig
from ate_core.errors import DeviceError, SafetyError
from ate_core.patience import Patience
from realman_driver import records
from realman_driver.codes import remedies
from realman_driver.identity import misfit_of
from realman_driver.protocol import (
    identity_from_record,
    joints_to_degrees,
    sample_from_push,
    wrench_doubt,
)
from realman_driver.push import Push, PushError, read_push
from realman_driver.records import Answer, Identity, Problem, Pulse, RecordError, State
from realman_driver.sdk import LinkConfig

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

RETRY_PERIOD = 0.3
"""Wait after a link process that never had a link [s]."""
AGAIN_PERIOD = 0.05
"""Wait after one that had a link [s]."""
START_TIMEOUT = 10.0
"""A new process must say that it lives within this time; a busy machine starts it slowly [s]."""
SILENCE_TIMEOUT = 0.6
"""A process that says nothing for this long is killed and replaced [s]."""
LISTEN_TIMEOUT = 0.05
"""How often that silence is looked at [s]."""
BEAT_PERIOD = 0.02
"""Without a target the streaming thread says this often that it lives [s]."""
STOP_TIMEOUT = 0.09
"""Longest wait for the controller to confirm a stop [s]."""
CLEAR_TIMEOUT = 6.0
"""Longest wait for the controller to clear its errors [s]."""
END_TIMEOUT = 0.6
"""How long a process that is to be replaced may take to bring its arm to rest [s]."""
CLOSE_TIMEOUT = 1.2
"""Longest wait for the link process at the end [s]: one stop, and the arm at rest."""
OWN_MOTION = 0.5
"""For this long after a target or a glide of ours, a moving arm may still obey it [s]."""
SETTLE_RETRY = 0.2
"""Wait after a glide that failed [s]."""
SETTLE_DEADLINE = 5.0
"""A glide without an answer for this long is asked for again [s]: the link gives its own 4 s, and
its answer may find no room."""
STOP_SHOWN = 0.5
"""How long a stop of somebody else is told [s]: the mode stays until the next motion, so it does
not say when the stop is over."""


def _to_enable(sample: ArmSample) -> tuple[int, ...]:
    """Joints, from 1, with an error of their own or without enable."""
    disabled = (number for number, on in enumerate(sample.enabled, 1) if not on)
    return tuple(sorted({*sample.faulty_joints, *disabled}))


def _wait_for_end(process: "subprocess.Popen[bytes]") -> int:
    """Let a process bring its arm to rest, then kill it; the exit code."""
    stopped = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
    try:
        if os.waitid(os.P_PID, process.pid, stopped | os.WEXITED) is None:
            return process.wait(END_TIMEOUT)
    except (ChildProcessError, subprocess.TimeoutExpired):
        pass
    process.kill()  # it hangs, is stopped and can do nothing for its arm, or has ended
    return process.wait()


def link_config(arm: ArmConfig) -> LinkConfig:
    """What the link process must know of an arm of the cell."""
    return LinkConfig(
        ip=arm.ip,
        tcp_port=arm.tcp_port,
        udp_port=arm.udp_port,
        cycle=arm.udp_cycle_ms // 5,
        joints=len(arm.joint_names),
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
        self._link_config = link_config(config)
        self._channel: socket.socket | None = None
        self._stop = threading.Event()
        self._send_failed = False
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
        self._tickets = 0
        self._answers: dict[int, Answer | None] = {}
        self._answered = threading.Condition()
        self._settling = 0
        self._settle_at = self._settle_by = 0.0
        self._foreign_stops = 0
        self._stopped_at = -math.inf
        self._glided_at = self._streamed_at = -math.inf
        self._push: Push | None = None
        self._first_epoch = 0
        self._processes = self._lost_records = self._broken_packets = 0
        self._links = self._own_stops = 0
        self._why_stopped = ""
        self._lost: dict[str, int] = {}
        self._thread = threading.Thread(target=self._keep_link, name="arm link", daemon=True)
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
        self._thread.start()

    def close(self) -> None:
        """Bring the arm to rest if it is linked, and disconnect."""
        self._stop.set()
        self._send(records.pack_end())
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT + 1.0)

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
        self._sent_at = self._streamed_at = now = time.monotonic()
        epoch = getattr(self._adopted, "epoch", 0)
        return self._send(records.pack_stream(epoch, now, tuple(joints_to_degrees(q))))

    def stop(self, *, fast: bool = False) -> bool:
        """Let the controller brake; False when it did not confirm in time.

        Confirmed is a stop by the controller's answer, or by its state that says so. The streaming
        thread does not wait: there True says that the stop left for the link process.
        """
        ticket = self._ticket()
        self._forget(self._settling)
        self._settling = 0
        sent = self._linked and self._send(records.pack_stop(ticket, fast))
        if not sent or threading.get_ident() == self._streamer:
            self._forget(ticket)
            return sent
        answer = self._wait(ticket, STOP_TIMEOUT)
        return answer is not None and answer.code == 0

    def settle(self, q: Array) -> bool:
        """Let the controller's set point glide to the measured joints (n,) [rad].

        It is a slow planned move to where the arm is, which takes the pressure from an arm that
        its last target pushed against something. The link begins it when the arm rests, and takes
        the joints from the controller's newest state, which is no older than ``q``. Call it until
        it is True.
        """
        now = self._glided_at = time.monotonic()
        if self._settling == 0:
            if self._linked and now >= self._settle_at:
                ticket = self._ticket()
                if self._send(records.pack_settle(ticket)):
                    self._settling, self._settle_by = ticket, now + SETTLE_DEADLINE
                else:
                    self._forget(ticket)
            return False
        answer = self._answers.get(self._settling)
        if answer is None and self._settling in self._answers and now < self._settle_by:
            return False
        self._forget(self._settling)
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
            "link processes started": str(self._processes),
            "records refused": str(self._lost_records),
            "state packets not understood": str(self._broken_packets),
        }
        values |= {f"links lost: {reason}": str(count) for reason, count in self._lost.items()}
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
        ticket = self._ticket()
        if not self._linked or not self._send(records.pack_clear(ticket, joints)):
            self._forget(ticket)
            raise DeviceError(f"arm {ip} is not connected: {self.link_error}")
        answer = self._wait(ticket, CLEAR_TIMEOUT)
        if answer is None or answer.code != 0:
            why = "no answer" if answer is None else answer.text
            raise DeviceError(
                f"arm {ip} did not clear its errors ({why}): look at the arm, then switch it off "
                "and on"
            )

    # --- packets -------------------------------------------------------------------------

    def _send(self, record: bytes) -> bool:
        """Never waits; a full socket says that the link process does not read."""
        channel = self._channel
        if channel is None:
            return False
        try:
            channel.send(record)
        except OSError:
            self._send_failed = True
            return False
        return True

    def _ticket(self) -> int:
        with self._answered:
            self._tickets = self._tickets % 0xFFFFFFF0 + 1
            self._answers[self._tickets] = None
            return self._tickets

    def _forget(self, ticket: int) -> None:
        with self._answered:
            self._answers.pop(ticket, None)

    def _wait(self, ticket: int, seconds: float) -> Answer | None:
        with self._answered:
            self._answered.wait_for(lambda: self._answers[ticket] is not None, seconds)
            return self._answers.pop(ticket)

    # --- the link process, in a thread of its own ----------------------------------------

    def _keep_link(self) -> None:
        while not self._stop.is_set():
            here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with there:
                process = self._start_process(there)
            here.settimeout(LISTEN_TIMEOUT)
            # A second object of the same socket: with a time limit, sending would wait too.
            sender = here.dup()
            sender.setblocking(False)
            self._send_failed, self._channel = False, sender
            reason = self._listen(here)
            was_linked = self._linked
            self._channel = None
            sender.close()
            self._end_link(here, process, reason)
            self._stop.wait(AGAIN_PERIOD if was_linked else RETRY_PERIOD)

    def _start_process(self, channel: socket.socket) -> "subprocess.Popen[bytes]":
        config = json.dumps(dataclasses.asdict(self._link_config))
        descriptor = channel.fileno()
        module = [sys.executable, "-m", "realman_driver.link"]
        self._processes += 1
        self._first_epoch = (self._processes << 12) & 0xFFFFFFFF  # no two links share an epoch
        return subprocess.Popen(
            [*module, str(descriptor), config, str(self._first_epoch)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the library prints
            pass_fds=(descriptor,),
            process_group=0,  # Ctrl-C is for the node, which brings the arm to rest
        )

    def _listen(self, channel: socket.socket) -> str:
        """Take records until the process ends or falls silent; says which."""
        heard, limit = time.monotonic(), START_TIMEOUT
        asked_to_end = float("inf")
        while True:
            now = time.monotonic()
            if self._stop.is_set() and asked_to_end == float("inf"):
                asked_to_end = now
                self._send(records.pack_end())
            if now - asked_to_end > CLOSE_TIMEOUT:
                return "did not end"
            if self._send_failed and not self._stop.is_set():
                return "took no orders"
            try:
                data = channel.recv(records.LARGEST)
            except TimeoutError:
                if now - heard > limit:
                    return "fell silent"
                continue
            except OSError:
                return "ended"
            if not data:
                return "ended"
            heard, limit = time.monotonic(), SILENCE_TIMEOUT
            try:
                self._take(records.unpack_report(data))
            except RecordError as error:
                self._lost_records += 1
                log.warning("link process of %s: %s", self._config.ip, error)

    def _end_link(
        self, channel: socket.socket, process: "subprocess.Popen[bytes]", reason: str
    ) -> None:
        was_linked = self._linked
        self._linked = False
        self._newest = None
        self.link_error = self._problem or f"the link process {reason}"
        with self._answered:
            for ticket in self._answers:
                self._answers[ticket] = Answer(ticket, -1, "the link was lost")
            self._answered.notify_all()
        channel.close()  # a process that still lives brings its arm to rest now
        code = _wait_for_end(process)
        if reason == "ended" and code < 0:
            reason = f"ended by signal {-code}"
        problem, self._problem = self._problem, ""
        if self._stop.is_set():
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
            with self._answered:
                if report.ticket in self._answers:
                    self._answers[report.ticket] = report
                    self._answered.notify_all()
        elif isinstance(report, Identity):
            misfit = misfit_of(report, self._config)
            self._identity = identity_from_record(report, self._name, misfit)
            self._session = (self._session[0] + 1, self._first_epoch)
            self._links, self._foreign_stops = self._links + 1, 0
            self._linked = True
            self.link_error = ""
            self._patience.well(f"connected to {self._name}")
            self._patience.end()
        elif isinstance(report, Problem):
            self._problem = report.text
            self._report(report.text)

    def _take_epoch(self, epoch: int) -> None:
        """Heed that older targets are void: the link stopped the arm, or somebody else did."""
        if self._linked and epoch != self._session[1]:
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
        if state.foreign_stops != self._foreign_stops:
            self._foreign_stops = state.foreign_stops
            # The controller stops by itself too, and then says why.
            explained = push.errors or any(push.joint_errors) or not all(push.enabled)
            self._stopped_at = -math.inf if explained else now
        self._newest = sample_from_push(
            push,
            joints=len(self._config.joint_names),
            sequence=self._sequence,
            received=state.received,
            stamp_ns=state.stamp_ns,
            gliding=self._settling != 0 or now - self._glided_at < OWN_MOTION,
            streaming=now - self._streamed_at < OWN_MOTION,
            stopped=now - self._stopped_at < STOP_SHOWN,
        )

    def _report(self, error: str) -> None:
        self._patience.trouble(error)
        self.link_error = error
