"""Switch faults on in a running emulated controller and ask what it saw."""

import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ate_core.control_socket import ControlClient
from ate_core.errors import DeviceError


class EmulatorControl:
    """Client of the control socket; ``faults`` lists the commands."""

    def __init__(self, path: str | Path, timeout: float = 2.0) -> None:
        """Prepare; every call makes its own connection.

        Args:
            path: unix socket of the controller.
            timeout: longest wait for an answer [s].
        """
        self._path = Path(path)
        self._client = ControlClient(
            self._path,
            peer="the emulated controller",
            remedy="start python -m realman_driver.emulator",
            timeout=timeout,
        )

    def fault(self, name: str, **arguments: float | str) -> None:
        """Switch a fault on.

        Raises:
            DeviceError: nobody answers, or the request was refused.
        """
        self._client.call("fault", name=name, **arguments)

    def status(self) -> dict[str, Any]:
        """Counters and state of the controller."""
        return self._client.call("status")

    def trace(self) -> NDArray[np.float64]:
        """The last 20 s: rows of time [s], set point (7) and measured joints (7) [rad]."""
        return np.array(self._client.call("trace")["trace"]).reshape(-1, 15)

    def wait_until_up(self, deadline_s: float) -> None:
        """Wait until the controller serves its arm.

        Raises:
            DeviceError: it does not within ``deadline_s`` [s].
        """
        give_up = time.monotonic() + deadline_s
        while True:
            try:
                if self.status()["up"]:
                    return
            except DeviceError:
                if time.monotonic() > give_up:
                    raise
            if time.monotonic() > give_up:
                raise DeviceError(f"controller at {self._path} has no arm: start the world")
            time.sleep(0.01)

    def __enter__(self) -> "EmulatorControl":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing stays open between calls."""
