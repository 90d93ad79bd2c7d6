"""Wait in every way for a time; print what each took by the process's clock and by the kernel's.

Run by test_slowly.py, as `timed_waits.py SECONDS`.
"""

import asyncio
import contextlib
import ctypes
import json
import queue
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import grpc

WAIT = float(sys.argv[1])
FUTEX, WAIT_BITSET, ANY = 202, 9, -1


def true_time() -> float:
    """Seconds since the kernel began, in hundredths; no library tells it."""
    return float(Path("/proc/uptime").read_text().split()[0])


def receive() -> None:
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here.bind(("127.0.0.1", 0))
    here.settimeout(WAIT)
    with contextlib.suppress(TimeoutError):
        here.recv(1)


def get() -> None:
    with contextlib.suppress(queue.Empty):
        queue.Queue().get(timeout=WAIT)


def condition() -> None:
    one = threading.Condition()
    with one:
        one.wait(WAIT)


def futex() -> None:
    word, until = ctypes.c_int(0), time.monotonic_ns() + int(WAIT * 1e9)
    moment = (ctypes.c_long * 2)(until // 10**9, until % 10**9)
    ctypes.CDLL(None).syscall(FUTEX, ctypes.byref(word), WAIT_BITSET, 0, moment, None, ANY)


def timer() -> None:
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, WAIT)
    signal.pause()


def channel() -> None:
    with contextlib.suppress(grpc.FutureTimeoutError):
        grpc.channel_ready_future(grpc.insecure_channel("127.0.0.1:1")).result(WAIT)


WAYS = {
    "sleep": lambda: time.sleep(WAIT),
    "event": lambda: threading.Event().wait(WAIT),
    "condition": condition,
    "queue": get,
    "select": lambda: select.select([], [], [], WAIT),
    "poll": lambda: select.poll().poll(WAIT * 1000),
    "epoll": lambda: select.epoll().poll(WAIT),
    "socket": receive,
    "signal": lambda: signal.sigtimedwait([signal.SIGUSR1], WAIT),
    "timer": timer,
    "futex": futex,
    "asyncio": lambda: asyncio.run(asyncio.sleep(WAIT)),
    "gRPC": channel,
}
told = {}
for name, way in WAYS.items():
    begin, true = time.monotonic(), true_time()
    way()
    told[name] = time.monotonic() - begin, true_time() - true
print(json.dumps(told))
