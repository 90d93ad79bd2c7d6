"""Which engine runs the work."""

from __future__ import annotations

from training.tasks.engine import Engine, EngineName
from training.tasks.in_process import InProcess
from training.tasks.local_processes import LocalProcesses
from training.tasks.ray_cluster import RayCluster


def make_engine(name: EngineName, jobs: int) -> Engine:
    """Return an engine.

    Args:
        name: Which one.
        jobs: Items worked on at the same time; 1 on the local engine needs no further process.
    """
    if name == "ray":
        return RayCluster(jobs)
    if jobs == 1:
        return InProcess()
    return LocalProcesses(jobs)
