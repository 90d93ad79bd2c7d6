"""Print the nodes of the graph as JSON: ``python -m ate_bringup.nodes.graph_look``."""

import json
import sys
import time

import rclpy

LOOK_TIME = 1.5
"""How long nodes are waited for [s]: those of one host are found in half a second."""
OWN = "/doctor"


def names() -> list[str]:
    """Full names of all nodes but our own, one entry for each node."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node(OWN[1:], context=context)
    time.sleep(LOOK_TIME)
    found = [f"{space.rstrip('/')}/{name}" for name, space in node.get_node_names_and_namespaces()]
    node.destroy_node()
    context.try_shutdown()
    return [name for name in found if name != OWN and not name.rsplit("/", 1)[1].startswith("_")]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(names()) + "\n")
