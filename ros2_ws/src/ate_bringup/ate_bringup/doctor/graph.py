"""Nodes that run already."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

from ate_bringup.doctor.finding import Patient
from ate_core.findings import Finding, failed, passed, warned

GRAPH_LIMIT = 10.0
"""Time for looking at the graph [s]."""


def look_at_nodes(patient: Patient) -> Iterator[Finding]:
    """No name is there twice: two launches on one network would both move the arms."""
    command = [sys.executable, "-m", "ate_bringup.nodes.graph_look"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=GRAPH_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        remedy = "end what blocks /dev/shm or the network, then try again"
        yield failed("nodes", "the middleware does not start", remedy, f"{GRAPH_LIMIT:g} s")
        return
    if done.returncode != 0:
        last = " ".join(done.stderr.strip().splitlines()[-1:])
        yield warned("nodes", f"cannot be listed ({last})", "source ROS, or run `make setup`")
        return
    names = Counter(json.loads(done.stdout.splitlines()[-1]))
    for name, count in names.items():
        if count > 1:
            remedy = "a launch was started twice, perhaps on another machine: end one"
            yield failed(f"node {name}", f"is there {count} times", remedy, "1")
    yield passed("nodes that run", ", ".join(sorted(names)) or "none")
