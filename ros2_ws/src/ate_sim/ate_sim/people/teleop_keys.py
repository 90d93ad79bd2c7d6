"""`ate teleop-keys`: lead the hands of the simulated cell with the keys of a terminal."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ate_core.contract import SIDES, Side, load_cell
from ate_core.control_socket import ControlClient
from ate_core.errors import DeviceError, NoCellError, UsageError
from ate_core.hands_socket import HANDS_SOCKET, LEAD
from ate_sim.people.keys import HELP, QUIT, KeyOperator, is_cut, split_keys
from ate_sim.people.person import actions_of

PERIOD = 0.05
"""Time between two requests [s]; a sixth of the silence that releases everything."""
CUT = 0.02
"""Time within which the rest of a key comes [s]; else it was Escape."""
TIMEOUT = 1.0
"""Longest wait for an answer [s]."""


@dataclass(frozen=True, kw_only=True)
class TeleopKeysConfig:
    """Move the arms of a running simulated cell with keys, through headset and Joy-Con."""

    side: Side = "left"
    """Arm that the keys move at first; tab takes the other one."""
    cell: str | None = None
    """cell.yaml, or the name of a packaged cell; None: the packaged one."""


def teleop_keys(config: TeleopKeysConfig) -> int:
    """Run until `q`; the arms then hold and the grippers stay as they are.

    Raises:
        NoCellError: there are no hands to lead.
        UsageError: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError("teleop-keys reads keys: run it in a terminal, not behind a pipe")
    cell = load_cell(config.cell, "sim")
    path = cell.runtime_path(HANDS_SOCKET)
    if not path.exists():
        raise NoCellError("simulated cell with episodes:=0", 0.0)
    client = ControlClient(
        path, peer="the hands", remedy="is the simulated cell still running?", timeout=TIMEOUT
    )
    actions = {side: actions_of(cell.operators[side]) for side in SIDES}
    operator = KeyOperator(config.side, actions=actions)
    print(HELP)
    with _single_keys(), suppress(KeyboardInterrupt):
        _lead(client, operator, f"keys#{os.getpid()}")
    print("\nthe arms hold")
    return 0


def _lead(client: ControlClient, operator: KeyOperator, source: str) -> None:
    """Send what the keys say until one of them ends it."""
    shown = ""
    try:
        while True:
            answer = client.call(LEAD, source=source, **operator.wish(time.monotonic()))
            operator.hear(answer)
            if operator.line() != shown:
                shown = operator.line()
                sys.stdout.write(f"\r\x1b[K{shown}")
                sys.stdout.flush()
            for key in _keys(PERIOD):
                if key in QUIT:
                    return
                operator.press(key, time.monotonic())
    finally:
        operator.let_go()
        _say_goodbye(client, operator, source)


def _say_goodbye(client: ControlClient, operator: KeyOperator, source: str) -> None:
    try:
        client.call(LEAD, source=source, **operator.wish(time.monotonic()))
    except DeviceError:
        return  # the cell has ended first, or somebody else leads: silence releases as well


def _keys(period: float) -> Iterator[str]:
    """Keys that come within a period [s]; a closed terminal is a key that ends it."""
    deadline = time.monotonic() + period
    while (left := deadline - time.monotonic()) > 0.0:
        if select.select([sys.stdin], [], [], left)[0]:
            data = os.read(sys.stdin.fileno(), 1024)
            while is_cut(data) and select.select([sys.stdin], [], [], CUT)[0]:
                data += os.read(sys.stdin.fileno(), 1)
            yield from split_keys(data)
            if not data:
                yield QUIT[0]


@contextmanager
def _single_keys() -> Iterator[None]:
    """Read keys as they are pressed, without echo; the terminal is as before afterwards."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
