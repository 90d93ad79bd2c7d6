"""A driver without a device, for the tests of what activates and watches drivers."""

import sys

from ate_core.nodes.device_node import DeviceNode
from ate_core.nodes.heartbeat import Heartbeat
from ate_core.nodes.runner import run_node


class FakeDriver(DeviceNode):
    """Linked at once; every transition succeeds."""

    def __init__(self) -> None:
        super().__init__("fake")
        self._heartbeat = Heartbeat(self, f"{self.get_namespace()} driver", lambda: "here")
        self.manage(f"{self.get_namespace()}/fake")

    def link_problem(self) -> str:
        return ""

    def set_active(self, active: bool) -> None:
        print(f"{self.get_namespace()} active {active}", flush=True)


if __name__ == "__main__":
    sys.exit(run_node(FakeDriver))
