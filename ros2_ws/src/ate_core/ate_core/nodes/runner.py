"""How every node process starts and stops.

The main thread waits on an event that the signal handlers set, the executor spins beside it.
A second Ctrl-C therefore cannot interrupt the clean-up, and whatever must stop an arm runs in
``halt()`` while ROS still works. A thread or callback that raises, whichever it is, ends the
process: half a driver that still looks alive is worse than none.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ate_core.child import STOPS, end_with_parent
from ate_core.errors import AteError
from ate_core.nodes.parameters import keep_own_time
from ate_core.nodes.transport import use_sockets
from ate_core.priority import (
    SWITCH_INTERVAL,
    set_fifo,
    set_fifo_of_process,
    set_niceness,
)

NEW_THREADS = 1.0
"""How often threads that were made since are looked for, as after a device came back [s]."""
END_BY_FORCE = 8.0
"""How long a process that has failed may take to stop its device [s]; less than the ten seconds
after which a launch kills it without a word."""


def run_node(
    make_node: Callable[[], Node],
    args: list[str] | None = None,
    niceness: int | None = None,
    *,
    realtime: bool = False,
) -> int:
    """Run one node until SIGINT or SIGTERM and return the exit code of the process.

    Args:
        make_node: builds the node after ROS is initialised. If the node has a method ``halt``,
            it is called first when stopping, with ROS still working.
        args: command line with ROS arguments; None takes ``sys.argv``.
        niceness: scheduling priority to ask for, see `ate_core.priority`.
        realtime: callbacks hand on what streams to an arm, see `set_fifo`.
    """
    stop = threading.Event()
    for number in STOPS:
        signal.signal(number, lambda *_: stop.set())
    end_with_parent()
    logging.basicConfig(
        level=logging.INFO, format="[%(levelname)s] %(name)s: %(message)s", stream=sys.stderr
    )
    if niceness is not None:
        set_niceness(niceness)
        sys.setswitchinterval(SWITCH_INTERVAL)
    use_sockets()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    failures = _watch_threads(stop)
    try:
        node = make_node()
        for each in (node, *getattr(node, "companions", ())):
            keep_own_time(each)
    except AteError as error:
        print(f"error: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    if realtime:
        set_fifo_of_process()
        node.create_timer(NEW_THREADS, set_fifo_of_process)
    _keep_from_collection()
    return _spin_until(stop, node, failures, realtime=realtime)


def _keep_from_collection() -> None:
    """Let no later garbage collection go through what is there now, modules above all.

    Some 50,000 objects in a driver: going through them takes 10 ms, a whole tick of its stream.
    """
    gc.collect()
    gc.freeze()


def _watch_threads(stop: threading.Event) -> list[str]:
    """End the process when a thread dies; returns the reasons, filled while running.

    Callbacks that a C library calls count as threads: `ctypes` only prints what they raise.
    """
    failures: list[str] = []

    def fail(where: str, error: BaseException | None) -> None:
        text = "".join(traceback.format_exception(error)) if error else ""
        failures.append(f"{where} raised, the process ends:\n{text}")
        stop.set()

    def thread_died(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "unknown"
        fail(f"thread {name!r}", args.exc_value)

    def not_raisable(args: sys.UnraisableHookArgs) -> None:
        if "ctypes callback" in (args.err_msg or ""):
            fail("a callback of a C library", args.exc_value)
        else:
            sys.__unraisablehook__(args)

    threading.excepthook = thread_died
    sys.unraisablehook = not_raisable
    return failures


def _spin_until(stop: threading.Event, node: Node, failures: list[str], *, realtime: bool) -> int:
    with spinning(node, on_end=stop.set, realtime=realtime) as raised:
        stop.wait()
        for failure in (*failures, *raised):
            print(failure, file=sys.stderr, flush=True)
        if failures or raised:
            _end_by_force_later()
        halt = getattr(node, "halt", None)
        if halt is not None:
            halt()
    return 1 if failures or raised else 0


def _end_by_force_later() -> None:
    """Make sure that a process that has failed ends, also when its clean-up waits for ever."""

    def end() -> None:
        print(f"clean-up took {END_BY_FORCE:.0f} s: ended by force", file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(END_BY_FORCE, end)
    timer.daemon = True
    timer.start()


@contextlib.contextmanager
def spinning(
    node: Node, on_end: Callable[[], None] | None = None, *, realtime: bool = False
) -> Iterator[list[str]]:
    """Run a node's callbacks in a thread; on leaving, join it, then shut the node and ROS down.

    Leaving in this order is what keeps a process from aborting at exit (rclpy issue 1484). Nodes
    in the attribute ``companions`` of the node are run beside it, each in a thread of its own:
    what must be answered while another callback waits.

    Args:
        node: the node.
        on_end: called when a thread ends, also when a callback raised.
        realtime: run callbacks at the real-time priority of this machine's setting, where it has
            one: a thread that is put aside in Python keeps those that stream from going on, too.

    Yields:
        Tracebacks of callbacks that raised, filled while running.
    """
    companions: Sequence[Node] = getattr(node, "companions", ())
    nodes = (node, *companions)
    executors = [SingleThreadedExecutor() for _ in nodes]
    failures: list[str] = []

    def spin(executor: SingleThreadedExecutor) -> None:
        if realtime:
            set_fifo()
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
        except Exception:  # a callback raised: the devices must still be stopped
            failures.append(traceback.format_exc())
        finally:
            if on_end is not None:
                on_end()

    spinners = []
    for each, executor in zip(nodes, executors, strict=True):
        executor.add_node(each)
        name = f"executor of {each.get_name()}"
        spinners.append(threading.Thread(target=spin, args=(executor,), name=name))
        spinners[-1].start()
    try:
        yield failures
    finally:
        for executor, spinner in zip(executors, spinners, strict=True):
            executor.shutdown()
            spinner.join()
        for each in reversed(nodes):
            each.destroy_node()
        rclpy.try_shutdown()
