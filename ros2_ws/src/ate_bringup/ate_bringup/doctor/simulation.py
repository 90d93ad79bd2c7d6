"""Whether a simulated cell runs; without one there is nothing of it to look at."""

import socket
from collections.abc import Iterator
from pathlib import Path

from ate_bringup.doctor.finding import Patient
from ate_core.contract import Cell
from ate_core.findings import Finding, passed

ANSWER_TIME = 0.5
"""Longest wait for an emulated controller to accept a connection [s]."""


def is_running(cell: Cell) -> bool:
    """Whether any emulated device of a cell is there; a real cell always counts as there."""
    if cell.hardware == "real":
        return True
    files = [gripper.port for gripper in cell.grippers.values()]
    addresses = [(arm.ip, arm.tcp_port) for arm in cell.arms.values() if arm.ip]
    addresses += [(one.headset_ip, one.headset_port) for one in cell.operators.values()]
    return any(Path(file).exists() for file in files) or any(map(_accepts, addresses))


def _accepts(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, ANSWER_TIME).close()
    except OSError:
        return False
    return True


def look_at_simulation(patient: Patient) -> Iterator[Finding]:
    """Say why emulated devices are looked at, or not."""
    if patient.hardware == "sim":
        runs = "runs" if is_running(patient.cell) else "does not run: no device to look at"
        yield passed("simulated cell", f"{patient.cell.name} {runs}")
