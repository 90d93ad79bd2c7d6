"""What keeps a policy from commanding: the stop, and arms or grippers that do not follow."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from rclpy.node import Node
from std_msgs.msg import String

from ate_core.commanders import POLICY
from ate_core.contract import Cell
from ate_core.json_text import UNREADABLE, plain_text
from ate_core.lease import Commander
from ate_core.nodes.estop import EstopListener
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import LATCHED_QOS
from ate_policy.silence import END_AFTER, DeviceSilence
from ate_policy.unheard import Unheard

UNFIT = frozenset({"stopped", "fault", "not_ready", "disconnected"})
"""States of a device in which a policy must not go on, nor begin; a person ends them."""
NO_FEEDBACK = "no_feedback"
"""State of a device whose driver is heard and has nothing to report: all arms hold at once."""
LOOK_PERIOD = 0.05
"""How often that is looked at [s]."""


class ArmWatch:
    """Listens to the stop, the arms and the grippers; callbacks run in the node's executor.

    A device that was away follows no stream that went on meanwhile: only a policy that falls
    silent and is started anew has its arms and grippers back.
    """

    def __init__(
        self, node: Node, cell: Cell, frame_id: str, on_trouble: Callable[[str], None]
    ) -> None:
        """Subscribe.

        Args:
            node: the policy's node.
            cell: its arms and grippers.
            frame_id: of its commands, as no other process has it.
            on_trouble: called with the reason when the policy must fall silent.
        """
        self._frame_id = frame_id
        self._on_trouble = on_trouble
        self._estop = EstopListener(node, self._take_stop)
        self._troubles = {f"{side} arm": "does not report: start its driver" for side in cell.arms}
        self._silent_since: dict[str, tuple[float, str]] = {}
        self._unheard = Unheard(POLICY)
        self._silence = DeviceSilence()
        self._silent = ""
        self._lock = threading.Lock()
        topics = cell.topics
        watched = [
            (f"{side} arm", topics.of_arm(arm.namespace, topics.arm_status))
            for side, arm in cell.arms.items()
        ] + [
            (f"{side} gripper", topics.of_arm(gripper.namespace, topics.gripper_status))
            for side, gripper in cell.grippers.items()
        ]
        for device, topic in watched:
            take = partial(self._take_status, device)
            listen(node, String, topic, take, LATCHED_QOS)
        node.create_timer(LOOK_PERIOD, self._look_for_silence)

    @property
    def trouble(self) -> str:
        """Why the policy must not command now; empty when it may."""
        if self._estop.reason:
            return f"emergency stop: {self._estop.reason}; reset it with `ate stop --reset`"
        with self._lock:
            troubles = list(self._troubles.items())
        return next((f"{device} {text}" for device, text in troubles if text), "")

    @property
    def pause(self) -> str:
        """Why all arms must hold just now; empty when they need not."""
        with self._lock:
            late = next(
                (f"{device} {text}" for device, (_, text) in self._silent_since.items()), ""
            )
            return f"{late}: all arms hold" if late else self._silent

    @property
    def taken(self) -> str:
        """Which arm is still held by somebody else, so that it could not follow yet."""
        with self._lock:
            return self._unheard.held("arm")

    def begin(self) -> None:
        """Note that the policy is started on purpose."""
        with self._lock:
            self._unheard.begin()

    def heard(self, device: str) -> None:
        """Note a measured state of an arm or a gripper."""
        with self._lock:
            self._silence.hear(device)

    def sent(self) -> None:
        """Note that all arms and grippers were commanded just now."""
        with self._lock:
            self._unheard.send(time.monotonic())

    def _take_stop(self, reason: str) -> None:
        if reason:
            self._on_trouble(self.trouble)

    def _take_status(self, device: str, message: String) -> None:
        try:
            status = json.loads(message.data)
            state, reason = plain_text(status["state"]), plain_text(status.get("reason", ""))
            holder = self._holder(status)
            why = plain_text(status.get("refused") or reason)
        except UNREADABLE:
            holder, why = None, ""
            state, reason = "not_ready", f"status is not readable: {message.data[:60]!r}"
        text = f"is {state} {reason}".rstrip()
        with self._lock:
            if isinstance(holder, str):
                self._unheard.hear(device, holder, why)
            if state == NO_FEEDBACK:
                self._silent_since.setdefault(device, (time.monotonic(), text))
                return
            self._silent_since.pop(device, None)
            self._troubles[device] = text if state in UNFIT else ""
        if state in UNFIT:
            self._on_trouble(self.trouble)

    def _holder(self, status: Mapping[str, object]) -> object:
        """Whom a device follows: another policy by its source, others by their name."""
        holder, source = status.get("commander"), plain_text(status.get("source", ""))
        is_own = not source or Commander(POLICY, source).signs(self._frame_id)
        return holder if holder != POLICY or is_own else source

    def _look_for_silence(self) -> None:
        """Take a device that gives no report for too long as one that does not follow."""
        now = time.monotonic()
        with self._lock:
            late = {
                device: text
                for device, (since, text) in self._silent_since.items()
                if now - since > END_AFTER and not self._troubles.get(device)
            }
            self._troubles |= late
            silences, unheard = self._silence.look(now), self._unheard.look(now)
            self._silent = silences.pause
        if late or silences.end or unheard:
            self._on_trouble(self.trouble or silences.end or unheard)
