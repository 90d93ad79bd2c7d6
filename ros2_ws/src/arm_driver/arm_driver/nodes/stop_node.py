"""The way to stop an arm that no other callback of its driver can block.

A node of its own beside the driver's, run by a thread of its own: it is answered while the
driver's node waits for a device.
"""

from collections.abc import Callable

from rclpy.node import Node
from std_srvs.srv import Trigger

from arm_driver.driver import ArmDriver
from arm_driver.nodes import messages
from ate_core.nodes.estop import EstopListener


class StopNode(Node):
    """``arm/stop`` and the emergency stop of the cell."""

    def __init__(self, owner: Node, on_stop: Callable[[str], object]) -> None:
        """Create the node beside its owner, silent until `connect`.

        Args:
            owner: node of the driver.
            on_stop: told the reason of every stop, after the driver was stopped.
        """
        super().__init__(
            f"{owner.get_name()}_stop",
            namespace=owner.get_namespace(),
            use_global_arguments=False,
            start_parameter_services=False,
        )
        self._on_stop = on_stop
        self._driver: ArmDriver | None = None

    def connect(self, driver: ArmDriver, service: str) -> None:
        """Begin to listen.

        Args:
            driver: what to stop.
            service: name of the service ``arm/stop``.
        """
        self._driver = driver
        self.create_service(Trigger, service, self._stop_arm)
        self._estop = EstopListener(self, self._take_estop)

    def _stop_arm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        assert self._driver is not None
        confirmed = self._driver.stop("stopped by service; call arm/enable")
        self._on_stop("arm/stop was called")
        return messages.answer(response, "" if confirmed else "the controller did not confirm")

    def _take_estop(self, reason: str) -> None:
        assert self._driver is not None
        if not reason:
            self._driver.estop_reset()
            self.get_logger().info("emergency stop reset: a new act moves the arm")
            return
        confirmed = self._driver.estop(reason)
        told = "" if confirmed else "; the controller did not confirm"
        self.get_logger().error(f"EMERGENCY STOP: {reason}{told}")
        self._on_stop(f"emergency stop: {reason}")
