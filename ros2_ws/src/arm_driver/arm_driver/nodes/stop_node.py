"""The ways to stop an arm that no other callback of its driver can block.

Nodes of their own beside the driver's, each run by a thread of its own: they are answered while
the driver's node waits for a device, and neither waits for the other. They know the driver alone;
whoever moves the arm learns of a stop from it.
"""

from rclpy.node import Node
from std_srvs.srv import Trigger

from arm_driver.driver import ArmDriver
from arm_driver.nodes import messages
from ate_core.nodes.estop import NOT_HEARD, EstopListener


def _beside(owner: Node, what: str) -> dict[str, object]:
    """Options of a node beside another, with its name and namespace."""
    return {
        "node_name": f"{owner.get_name()}_{what}",
        "namespace": owner.get_namespace(),
        "use_global_arguments": False,
        "start_parameter_services": False,
    }


class StopNode(Node):
    """``arm/stop``."""

    def __init__(self, owner: Node, driver: ArmDriver) -> None:
        """Create the node beside its owner, silent until `connect`.

        Args:
            owner: node of the driver.
            driver: what to stop.
        """
        super().__init__(**_beside(owner, "stop"))
        self._driver = driver

    def connect(self, service: str) -> None:
        """Offer the service.

        Args:
            service: name of ``arm/stop``.
        """
        self.create_service(Trigger, service, self._stop_arm)

    def _stop_arm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        confirmed = self._driver.stop("stopped by service; call arm/enable")
        return messages.answer(response, "" if confirmed else "the controller did not confirm")


class EstopNode(Node):
    """The emergency stop of the cell."""

    def __init__(self, owner: Node, driver: ArmDriver) -> None:
        """Create the node beside its owner, deaf until `connect`.

        Args:
            owner: node of the driver.
            driver: what to stop.
        """
        super().__init__(**_beside(owner, "estop"))
        self._driver = driver
        self._estop: EstopListener | None = None

    @property
    def unheard(self) -> str:
        """Why a stop may be on that this driver does not know; empty once it was told."""
        return NOT_HEARD if self._estop is None else self._estop.unheard

    def connect(self) -> None:
        """Begin to listen."""
        self._estop = EstopListener(self, self._take_estop)

    def _take_estop(self, reason: str) -> None:
        if not reason:
            self._driver.estop_reset()
            self.get_logger().info("emergency stop reset: a new act moves the arm")
            return
        confirmed = self._driver.estop(reason)
        told = "" if confirmed else "; the controller did not confirm"
        self.get_logger().error(f"EMERGENCY STOP: {reason}{told}")
