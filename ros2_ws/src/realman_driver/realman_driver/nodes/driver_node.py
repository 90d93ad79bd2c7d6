"""ROS node of one RealMan arm."""

import sys

from arm_driver.nodes.arm_node import run_arm_node
from realman_driver.client import ArmClient


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_arm_node(lambda arm, _: ArmClient(arm), args)


if __name__ == "__main__":
    sys.exit(main())
