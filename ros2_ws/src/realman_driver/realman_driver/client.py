"""One arm over the SDK: it connects, streams, reads and reconnects for ever. No ROS.

Only the link thread creates and deletes SDK handles, as a call on a failed handle would leave
the SDK's process-wide lock behind. Nothing here blocks on a planned move.
"""

import logging
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arm_driver.interface import ArmIdentity, ArmSample
from ate_core.devices import ArmConfig
from ate_core.errors import DeviceError, SafetyError
from realman_driver import sdk
from realman_driver.protocol import joints_to_degrees, sample_from_push

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

RETRY_PERIOD = 0.5
"""Wait between two attempts to connect [s]."""
FIRST_PUSH_TIMEOUT = 1.0
"""A connected controller must push its state within this time [s]."""
LINK_TIMEOUT = 1.0
"""Silence of the push after which the link is given up and made again [s]: long enough for a
hiccup of the network, during which the arm holds anyway."""
PROBE_PERIOD = 2.0
"""How often a question goes over TCP [s]. Streaming frames are never answered, so a controller
that pushes but no longer reads would otherwise go unnoticed until the socket is full."""
CLOSE_TIMEOUT = 1.2
"""Longest wait for the link thread at the end [s]: one unanswered question, one stop."""
WATCH_PERIOD = 0.05
"""How often the link thread looks [s]."""


class ArmClient:
    """A link to one controller that outlives the controller; see `arm_driver.interface`."""

    def __init__(self, config: ArmConfig) -> None:
        """Prepare; `start` connects.

        Args:
            config: addresses, joints and tool of the arm.
        """
        self._config = config
        self._arm: Any = None
        self._use = threading.Lock()  # held while a call runs on the handle
        self._stop = threading.Event()
        self._send_failed = threading.Event()
        self._pushed = threading.Event()
        self._newest: tuple[int, float, int, Any] | None = None
        self._sample: ArmSample | None = None
        self._content = b""
        self._thread = threading.Thread(target=self._keep_link, name="arm link", daemon=True)
        self.session = 0
        """Counts links; a change means that the arm may have moved or restarted meanwhile."""
        self.link_error = "not connected yet"
        """Why there is no link; empty while there is one."""

    def start(self) -> None:
        """Connect in the background and stay connected."""
        self._thread.start()

    def close(self) -> None:
        """Bring the arm to rest if it is linked, and disconnect.

        A connection attempt to a silent host cannot be broken off (3 s in the SDK); it is left
        behind, as there is no arm to stop at its other end.
        """
        self._stop.set()
        self._pushed.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT)

    def identity(self) -> ArmIdentity:
        """Which controller this is; it was asked for its number of joints on connecting."""
        return ArmIdentity(
            name=f"{self._config.ip}:{self._config.tcp_port}",
            joints=len(self._config.joint_names),
        )

    def latest(self) -> ArmSample | None:
        """Newest state of this link; None before the first, and for a broken push."""
        newest = self._newest
        if newest is None:
            return None
        sequence, received, stamp_ns, push = newest
        if self._sample is None or self._sample.sequence != sequence:
            sample = sample_from_push(
                push,
                joints=len(self._config.joint_names),
                sequence=sequence,
                received=received,
                stamp_ns=stamp_ns,
            )
            if sample is None:
                return self._sample  # its age tells
            self._sample = sample
        return self._sample

    # --- commands ------------------------------------------------------------------------

    def stream(self, q: Array) -> bool:
        """Send one pass-through target (n,) [rad]; False when it did not leave.

        True says only that the bytes left: watch the measured joints.

        Raises:
            SafetyError: not one finite number per joint, which the SDK would send as something
                else.
        """
        joints = len(self._config.joint_names)
        if q.shape != (joints,) or not np.all(np.isfinite(q)):
            raise SafetyError(f"joint target {q} is not {joints} finite numbers: not sent")
        with self._use:
            if self._arm is None:
                return False
            # High follow, raw: the filter before this has limited speed and acceleration.
            code = self._arm.rm_movej_canfd(joints_to_degrees(q), True)
        if code != 0:
            self._send_failed.set()
        return bool(code == 0)

    def stop(self, *, fast: bool = False) -> bool:
        """Let the controller brake; False when it did not confirm."""
        with self._use:
            if self._arm is None:
                return False
            code = self._arm.rm_set_arm_stop() if fast else self._arm.rm_set_arm_slow_stop()
            return bool(code == 0)

    def settle(self, q: Array) -> bool:
        """Nothing to wait for."""
        return True

    def health(self) -> dict[str, str]:
        """Links made so far."""
        return {"links made": str(self.session)}

    def clear_errors(self) -> None:
        """Clear system and joint errors and enable the joints again.

        Raises:
            DeviceError: no link, or the controller refused.
        """
        sample = self.latest()
        joints = () if sample is None else sample.faulty_joints
        with self._use:
            if self._arm is None:
                raise DeviceError(f"arm {self._config.ip} is not connected: {self.link_error}")
            codes = [self._arm.rm_clear_system_err()]
            for number in joints:
                codes.append(self._arm.rm_set_joint_clear_err(number))
                codes.append(self._arm.rm_set_joint_en_state(number, 1))
        if any(codes):
            raise DeviceError(
                f"arm {self._config.ip} did not clear its errors (codes {codes}): look at the "
                "arm, then switch it off and on"
            )

    # --- link ----------------------------------------------------------------------------

    def _keep_link(self) -> None:
        while not self._stop.is_set():
            try:
                self._connect()
            except DeviceError as error:
                self._report(str(error))
                self._stop.wait(RETRY_PERIOD)
                continue
            reason = self._watch()
            if not reason:
                self.stop()
            self._report(reason or "closed")
            self._disconnect()

    def _connect(self) -> None:
        self._newest = self._sample = None
        self._pushed.clear()
        self._send_failed.clear()
        arm = sdk.open_arm(self._config, self._on_push)
        if not self._pushed.wait(FIRST_PUSH_TIMEOUT):
            sdk.close_arm(arm, self._config)
            raise DeviceError(
                f"arm {self._config.ip} pushes no state to UDP port {self._config.udp_port}: "
                "check the firewall, and that no other process uses this port"
            )
        with self._use:
            self._arm = arm
        self.session += 1
        self.link_error = ""
        log.info("connected to %s:%d", self._config.ip, self._config.tcp_port)

    def _watch(self) -> str:
        """Wait for the end of the link; why it ended, or empty when asked to stop."""
        probe_at = time.monotonic() + PROBE_PERIOD
        while not self._stop.wait(WATCH_PERIOD):
            if self._send_failed.is_set():
                return "link broke while sending"
            now = time.monotonic()
            newest = self._newest
            if newest is None or now - newest[1] > LINK_TIMEOUT:
                return f"no new state from {self._config.ip} for {LINK_TIMEOUT * 1e3:.0f} ms"
            if now >= probe_at:
                probe_at = now + PROBE_PERIOD
                # Without the lock: only this thread deletes the handle, and streaming goes on.
                code = self._arm.rm_get_joint_degree()[0]
                if code != 0 and not self._stop.is_set():
                    return f"{self._config.ip} does not answer ({code})"
        return ""

    def _disconnect(self) -> None:
        with self._use:
            arm, self._arm = self._arm, None
        sdk.close_arm(arm, self._config)

    def _report(self, error: str) -> None:
        if error != self.link_error and error != "closed":
            log.warning("%s", error)
        self.link_error = error

    def _on_push(self, received: float, stamp_ns: int, push: Any) -> None:
        # A sensor of a live arm always differs in some last digit. The same packet again is an
        # old state, however new its arrival: it must age.
        content = bytes(push)
        if content == self._content:
            return
        self._content = content
        newest = self._newest
        self._newest = (newest[0] + 1 if newest else 1, received, stamp_ns, push)
        self._pushed.set()
