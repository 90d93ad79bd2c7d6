"""Arms that only listen: what the monitors of a cell need to see of drivers."""

import json
import threading
import time
from collections.abc import Callable

import pytest


class ListeningArms:
    """Both arms of a cell on real DDS: they latch the stop, tell their status and their joints."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String
        from std_srvs.srv import Trigger

        from ate_core.nodes.estop import STATE_TOPIC, EstopListener
        from ate_core.nodes.qos import DEFAULT_QOS, LATCHED_QOS

        self._text, self._joints, self._trigger = String, JointState, Trigger
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("listening_arms", context=self.context)
        self.speed = 0.0
        self.state = "connected"
        self.alive = True
        self.cell: dict = {}
        self.told: list[dict] = []
        """All that the e-stop nodes said, in order."""
        make = self.node.create_publisher
        self._statuses = [
            make(String, f"/{side}/arm/status", LATCHED_QOS) for side in ("left", "right")
        ]
        self._states = [
            make(JointState, f"/{side}/arm/joint_states", DEFAULT_QOS)
            for side in ("left", "right")
        ]
        self.estop = EstopListener(self.node, lambda _: self.tell())
        self.node.create_subscription(String, STATE_TOPIC, self._keep, LATCHED_QOS)
        self.node.create_timer(0.02, self._publish)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.tell()
        self._thread = threading.Thread(target=self.executor.spin)
        self._thread.start()

    def tell(self) -> None:
        """Publish the status of both arms."""
        status = {"state": self.state, "reason": self.estop.reason, "estop": self.estop.reason}
        for publisher in self._statuses:
            publisher.publish(self._text(data=json.dumps(status)))

    def call(self, name: str) -> tuple[bool, str]:
        """Call a trigger service."""
        client = self.node.create_client(self._trigger, name)
        assert client.wait_for_service(10.0)
        future = client.call_async(self._trigger.Request())
        self.wait_for(future.done)
        return future.result().success, future.result().message

    def wait_for(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Wait until a condition holds; the test fails when it does not in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not reached; the cell says {self.cell}"
            time.sleep(0.01)

    def close(self) -> None:
        """Leave the graph."""
        self.executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self.context.try_shutdown()

    def _keep(self, message) -> None:
        self.cell = json.loads(message.data)
        self.told.append(self.cell)

    def _publish(self) -> None:
        if not self.alive:
            return
        for publisher in self._states:
            message = self._joints(velocity=[0.0] * 6 + [self.speed])
            message.header.stamp = self.node.get_clock().now().to_msg()
            publisher.publish(message)


@pytest.fixture
def arms(node_environment):
    """Both arms, listening."""
    pytest.importorskip("rclpy")
    arms = ListeningArms()
    yield arms
    arms.close()
