"""How every node process starts and stops.

The main thread waits on an event that the signal handlers set, the executor spins beside it.
A second Ctrl-C therefore cannot interrupt the clean-up, and whatever must stop an arm runs in
``halt()`` while ROS still works.
"""

import contextlib
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ate_core.errors import AteError
from ate_core.priority import set_niceness


def run_node(
    make_node: Callable[[], Node], args: list[str] | None = None, niceness: int | None = None
) -> int:
    """Run one node until SIGINT or SIGTERM and return the exit code of the process.

    Args:
        make_node: builds the node after ROS is initialised. If the node has a method ``halt``,
            it is called first when stopping, with ROS still working.
        args: command line with ROS arguments; None takes ``sys.argv``.
        niceness: scheduling priority to ask for, see `ate_core.priority`.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    if niceness is not None:
        set_niceness(niceness)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = make_node()
    except AteError as error:
        print(f"error: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    return _spin_until(stop, node)


def _spin_until(stop: threading.Event, node: Node) -> int:
    with spinning(node, on_end=stop.set) as failures:
        stop.wait()
        halt = getattr(node, "halt", None)
        if halt is not None:
            halt()
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


@contextlib.contextmanager
def spinning(node: Node, on_end: Callable[[], None] | None = None) -> Iterator[list[str]]:
    """Run a node's callbacks in a thread; on leaving, join it, then shut the node and ROS down.

    Leaving in this order is what keeps a process from aborting at exit (rclpy issue 1484).

    Args:
        node: the node.
        on_end: called when the thread ends, also when a callback raised.

    Yields:
        Tracebacks of callbacks that raised, filled while running.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    failures: list[str] = []

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
        except Exception:  # a callback raised: the devices must still be stopped
            failures.append(traceback.format_exc())
        finally:
            if on_end is not None:
                on_end()

    spinner = threading.Thread(target=spin, name="executor")
    spinner.start()
    try:
        yield failures
    finally:
        executor.shutdown()
        spinner.join()
        node.destroy_node()
        rclpy.try_shutdown()
