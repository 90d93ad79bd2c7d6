"""What every driver node is: a lifecycle node that is inactive until its device is checked.

================  ===========================================================================
transition        meaning
================  ===========================================================================
configure         succeeds when the device is linked and is the one of the cell, and nobody
                  else drives it; fails at once with a reason otherwise, so the caller retries
activate          commands are accepted; nothing moves by it
deactivate        the device comes to rest and is held; states go on being published
cleanup, error    as deactivate, and unconfigured again
================  ===========================================================================

With ``autostart`` (the default) the node configures and activates itself and keeps trying; a
launch with a manager passes false.
"""

import time
import traceback
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from ate_core.nodes.claim import DeviceClaim, in_domain
from ate_core.patience import START_PATIENCE

RETRY_PERIOD = 0.2
"""Between two attempts of a node that starts itself [s]."""
HOST_BYTES = slice(0, 4)
"""Vendor and host in the identifier of a DDS endpoint."""
STARTING = "not configured yet"


class DeviceNode(LifecycleNode):
    """Node of one device; a subclass defines `link_problem` and `set_active`."""

    def __init__(self, name: str, **options: Any) -> None:
        """Create the node, unconfigured; call `manage` at the end of the constructor.

        Args:
            name: of the node.
            options: of `rclpy.node.Node`.
        """
        super().__init__(name, **options)
        descriptor = ParameterDescriptor(
            description="configure and activate by itself; false where a manager does it",
            read_only=True,
        )
        self._refuse_unknown_transitions()
        self._autostart = bool(self.declare_parameter("autostart", True, descriptor).value)
        self._claim: DeviceClaim | None = None
        self._begun = False
        self._patient_until = time.monotonic() + START_PATIENCE
        self._reason = STARTING

    # --- what a driver defines -------------------------------------------------------------

    def begin(self) -> None:
        """Begin to connect; called once, when nobody else drives the device. Never blocks."""

    def link_problem(self) -> str:
        """Why the device is not linked or not the one of the cell; empty when all is well."""
        raise NotImplementedError

    def set_active(self, active: bool) -> None:
        """Accept commands, or come to rest and hold."""
        raise NotImplementedError

    # --- what a driver uses ------------------------------------------------------------------

    def manage(self, name: str, device: Callable[[], str] = str) -> None:
        """Become ready for transitions, by itself where ``autostart`` says so.

        One process alone may have the name within a ROS domain, and the device on this host.

        Args:
            name: of the device in the cell, for instance ``/left/arm``.
            device: what it is, see `ate_core.device_names`; empty where that is not known.
        """
        own = in_domain(name, self.context.get_domain_id())
        self._claim = DeviceClaim(lambda: (own, device()))
        self._starter = self.create_timer(RETRY_PERIOD, self._start) if self._autostart else None
        self._look()

    @property
    def is_active(self) -> bool:
        """Whether commands are accepted."""
        return self.state_label == "active"

    @property
    def state_label(self) -> str:
        """Lifecycle state: unconfigured, inactive, active, finalized."""
        return str(self._state_machine.current_state[1])

    @property
    def inactive_reason(self) -> str:
        """Why the node is not active; empty while it is."""
        return self._reason

    def claim_device(self) -> str:
        """Why the device must not be opened, by the name that it has now; empty where it may.

        To be asked before each opening, from any thread: the number of the kernel behind a link
        is another one after a power cycle of its hub.
        """
        return STARTING if self._claim is None else self._claim.take()

    def release_device(self) -> None:
        """Let another process drive the device; at the end of ``halt``."""
        if self._claim is not None:
            self._claim.release()

    # --- transitions, in the executor --------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Succeed when the device is ours, linked and checked."""
        try:
            taken = self._look()
            problem = taken or self.link_problem()
        except Exception:
            return self._failed("configure")
        if problem:
            if taken or time.monotonic() > self._patient_until:
                self._tell(problem)
            self._reason = problem
            return TransitionCallbackReturn.FAILURE
        self._tell("inactive: checked")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Accept commands."""
        try:
            self.set_active(True)
        except Exception:
            return self._failed("activate")
        self._reason = ""
        self.get_logger().info("active")
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Come to rest and hold."""
        return self._rest("deactivate", "inactive: deactivated")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Come to rest and hold."""
        return self._rest("cleanup", "unconfigured: cleaned up")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Come to rest and hold."""
        return self._rest("shutdown", "finalized: shut down")

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Come to rest and hold; the node is unconfigured then."""
        return self._rest("error processing", self._reason)

    # --- parts -------------------------------------------------------------------------------

    def _refuse_unknown_transitions(self) -> None:
        """Answer no to a transition that the present state does not have.

        rclpy raises for those, which would end the process of whoever is activated twice.
        """
        change = self._service_change_state.callback

        def answer(
            request: ChangeState.Request, response: ChangeState.Response
        ) -> ChangeState.Response:
            known = {
                label: number for number, label, *_ in self._state_machine.available_transitions
            }
            asked = request.transition
            wanted = known.get(asked.label) if asked.label else asked.id
            if wanted in known.values():
                return change(request, response)
            self.get_logger().warning(
                f"transition {asked.label or asked.id} is refused: {self.state_label} has "
                f"{', '.join(known)}"
            )
            response.success = False
            return response

        self._service_change_state.callback = answer

    def _look(self) -> str:
        """Why the device is not ours; when it is, begin to connect."""
        problem = self._twin_elsewhere() or self.claim_device()
        if not problem and not self._begun:
            self._begun = True
            self.begin()
        return problem

    def _twin_elsewhere(self) -> str:
        """Say that a node of our full name runs on another host; on this one the claim tells."""
        topic = f"{self.get_fully_qualified_name()}/transition_event"
        hosts = {
            bytes(info.endpoint_gid)[HOST_BYTES]
            for info in self.get_publishers_info_by_topic(topic)
        }
        if len(hosts) < 2:
            return ""
        return (
            f"another host runs a node {self.get_fully_qualified_name()} too: end one, or give "
            "each cell its own ROS_DOMAIN_ID"
        )

    def _rest(self, transition: str, reason: str) -> TransitionCallbackReturn:
        try:
            self.set_active(False)
        except Exception:
            return self._failed(transition)
        self._tell(reason)
        return TransitionCallbackReturn.SUCCESS

    def _failed(self, transition: str) -> TransitionCallbackReturn:
        # rclpy swallows what a transition raises: said here or never.
        self.get_logger().error(f"{transition} failed:\n{traceback.format_exc()}")
        self._reason = f"{transition} failed: {traceback.format_exc(limit=0).strip()}"
        return TransitionCallbackReturn.ERROR

    def _tell(self, reason: str) -> None:
        if reason != self._reason:
            self.get_logger().info(reason)
        self._reason = reason

    def _start(self) -> None:
        if self.state_label == "unconfigured":
            self.trigger_configure()
        if self.state_label == "inactive":
            self.trigger_activate()
        if self.is_active and self._starter is not None:
            self._starter.cancel()  # whoever deactivates it later means it
