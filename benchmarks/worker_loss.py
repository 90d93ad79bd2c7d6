"""Kills what converts an archive, in mid-batch, and compares the bytes with an undisturbed run.

    python -m benchmarks.worker_loss --engine local
    python -m benchmarks.worker_loss --engine ray        # needs the extra `ray`

A folder of made bags is converted by one undisturbed process, then by two workers of an engine. In
the second run one worker that holds an episode is killed by SIGKILL, once the first episode is
done; on Ray also the raylet of one of two nodes with all its workers, once the third is. The exit
code is 1 where an episode is missing or one byte differs.
"""

import hashlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import tyro

from benchmarks.conversion import make_bag
from training.configs.convert import ConvertConfig
from training.convert_bags import convert
from training.tasks.choose import WorkConfig
from training.tasks.engine import EngineName
from training.tasks.ray_cluster import STORE_BYTES

JOBS = 2
PERIOD_S = 0.01
"""Between two looks at what is done [s]."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Kill workers in mid-batch."""

    engine: EngineName = "local"
    """What runs the conversion."""
    episodes: int = 8
    """Bags that are converted."""
    seconds: float = 20.0
    """Length of each [s]."""


@dataclass(kw_only=True)
class Killer:
    """Kills when enough episodes are done."""

    output: Path
    """Where they appear."""
    plan: dict[int, tuple[str, Callable[[], bool]]]
    """Episodes done -> what is killed then, and how; False: nothing was there to kill yet."""
    killed: list[str] = field(default_factory=list)
    """What was killed, and when."""
    over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Look until the plan is done or the conversion is over."""
        for count, (what, kill) in sorted(self.plan.items()):
            while len(list(self.output.glob("episode_*.hdf5"))) < count or not kill():
                if self.over.wait(PERIOD_S):
                    return
            done = len(list(self.output.glob("episode_*.hdf5")))
            self.killed.append(f"{what} with {done} done")


def main(config: LossConfig) -> int:
    """Convert twice, compare, print; 1 where anything is missing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index in range(config.episodes):
            make_bag(folder / "bags" / f"episode_{index:06d}", config.seconds, "sim")
        plain = ConvertConfig(bags=folder / "bags", output=folder / "plain")
        code, plain_s = _timed(plain)
        work = WorkConfig(engine=config.engine, jobs=JOBS)
        disturbed = ConvertConfig(bags=folder / "bags", output=folder / "disturbed", work=work)
        with ENGINES[config.engine]() as plan:
            killer = Killer(output=disturbed.output, plan=plan)
            watching = threading.Thread(target=killer.watch)
            watching.start()
            disturbed_code, disturbed_s = _timed(disturbed)
            killer.over.set()
            watching.join()
        before, after = _digests(plain.output), _digests(disturbed.output)
        equal = sum(after.get(key) == digest for key, digest in before.items())
        leavings = len(list(disturbed.output.iterdir())) - len(after)
    print(f"killed: {'; '.join(killer.killed) or 'nothing'}")
    print(
        f"{config.engine}: {equal} of {config.episodes} files equal byte by byte, {leavings} "
        f"leavings; {disturbed_s:.1f} s with {JOBS} jobs, undisturbed with one {plain_s:.1f} s"
    )
    sound = equal == config.episodes and not leavings and not code and not disturbed_code
    return 0 if sound and len(killer.killed) == len(killer.plan) else 1


def _timed(config: ConvertConfig) -> tuple[int, float]:
    start = time.perf_counter()
    return convert(config), time.perf_counter() - start


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("episode_*.hdf5")
    }


@contextmanager
def _local() -> Iterator[dict[int, tuple[str, Callable[[], bool]]]]:
    def kill() -> bool:
        children = multiprocessing.active_children()
        for child in children[:1]:
            os.kill(child.pid or 0, signal.SIGKILL)
        return bool(children)

    yield {1: ("a worker", kill)}


@contextmanager
def _ray() -> Iterator[dict[int, tuple[str, Callable[[], bool]]]]:
    """A cluster of two nodes on this machine, one core each, and what is killed of it."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    cluster.add_node(num_cpus=0, num_gpus=0, object_store_memory=STORE_BYTES)
    nodes = [
        cluster.add_node(num_cpus=1, num_gpus=0, object_store_memory=STORE_BYTES)
        for _ in range(JOBS)
    ]
    os.environ["RAY_ADDRESS"] = cluster.address

    def kill_worker() -> bool:
        busy = _busy_workers(nodes[0])
        for process in busy[:1]:
            process.kill()
        return bool(busy)

    def kill_node() -> bool:
        if not _busy_workers(nodes[1]):
            return False
        nodes[1].kill_raylet()
        return True

    try:
        yield {1: ("a worker", kill_worker), 3: ("the raylet of a node", kill_node)}
    finally:
        del os.environ["RAY_ADDRESS"]
        ray.shutdown()
        cluster.shutdown()


def _busy_workers(node: Any) -> list[psutil.Process]:
    """Workers of a node that are in a task."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [child for child in raylet.children(recursive=True) if "ray::_call" in _title(child)]


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


ENGINES = {"local": _local, "ray": _ray}

if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(LossConfig)))
