"""The state that the emulated controller pushes over UDP."""

import contextlib
import ipaddress
import socket

from arm_driver.plant import Measurement
from realman_driver.emulator import wire
from realman_driver.emulator.commands import CommandTable, PushSetting
from realman_driver.emulator.controller import Controller
from realman_driver.emulator.faults import Faults


class StatePush:
    """Sends states from the controller's own address, as the SDK knows arms by it."""

    def __init__(self, ip: str, setting: PushSetting, faults: Faults) -> None:
        """Open the socket.

        Args:
            ip: the controller's address.
            setting: where the states go, which clients change.
            faults: that spoil them.

        Raises:
            OSError: the address cannot be used.
        """
        self._setting, self._faults = setting, faults
        self._newest = b""
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._udp.bind((ip, 0))
        except BaseException:
            self._udp.close()
            raise

    def is_due(self, tick: int) -> bool:
        """Whether a state leaves at this tick."""
        return self._setting.enable and tick % self._setting.cycle == 0

    def send(
        self,
        measured: Measurement,
        controller: Controller,
        commands: CommandTable,
        tick: int,
        now: float,
    ) -> None:
        """Send the state of this tick; faults may spoil it, or keep it back."""
        faults = self._faults
        if faults.active("drop_udp", now) or faults.active("cut", now):
            return
        fields = wire.push_fields(
            measured,
            commands.wrench_offset,
            errors=controller.errors,
            joint_errors=controller.joint_errors,
            joint_enabled=controller.joint_enabled,
            tick=tick // self._setting.cycle,
        )
        data = wire.encode_push(
            faults.spoil(fields, now),
            measured.q,
            status=controller.status,
            coordinate=self._setting.force_coordinate,
        )
        if faults.active("frozen", now):
            data = self._newest
        self._newest = data
        if faults.active("garbage", now):
            data = data[: len(data) // 2]
        # A client may have set any address and port; a name would be looked up, for seconds.
        with contextlib.suppress(OSError, OverflowError, ValueError):
            receiver = str(ipaddress.IPv4Address(self._setting.ip)), self._setting.port
            self._udp.sendto(data, receiver)

    def close(self) -> None:
        """Close the socket."""
        self._udp.close()
