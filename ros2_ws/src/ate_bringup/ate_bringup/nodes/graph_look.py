"""Print the nodes of the graph as JSON: ``python -m ate_bringup.nodes.graph_look``."""

import json
import sys

from ate_core.nodes.visitor import visit

LOOK_TIME = 4.0
"""How long nodes are waited for [s]: those of one host are found in half a second, on a busy
machine in two, and who missed a first announcement hears the next after three."""
OWN = "/doctor"


def names() -> list[str]:
    """Full names of all nodes but our own, one entry for each node."""
    with visit(OWN[1:]) as visitor:
        visitor.spin_for(LOOK_TIME)
        named = visitor.node.get_node_names_and_namespaces()
    found = [f"{space.rstrip('/')}/{name}" for name, space in named]
    return [name for name in found if name != OWN and not name.rsplit("/", 1)[1].startswith("_")]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(names()) + "\n")
