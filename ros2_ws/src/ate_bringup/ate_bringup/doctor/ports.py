"""Network ports that a cell needs for itself."""

import socket
from collections.abc import Iterator

from ate_bringup.doctor.finding import Patient
from ate_core.devices import ArmConfig
from ate_core.findings import Finding, failed, passed


def look_at_ports(patient: Patient) -> Iterator[Finding]:
    """The ports that drivers and emulators are about to open are free."""
    if not patient.starts_devices:
        return
    for side, arm in patient.cell.arms.items():
        if arm.driver == "realman":
            yield push_port(side, arm)
    if patient.hardware == "sim":
        yield from _emulator_addresses(patient)


def push_port(side: str, arm: ArmConfig) -> Finding:
    """Whether the port for the state push of an arm can be opened."""
    what = f"UDP port {arm.udp_port} of the {side} arm"
    problem = _bind(socket.SOCK_DGRAM, "", arm.udp_port)
    if not problem:
        return passed(what, "free")
    return failed(
        what,
        f"cannot be used ({problem})",
        "another driver of this arm runs, stop it: the last one to open it takes all states; or "
        f"give arms.{side}.udp_port another number",
    )


def _emulator_addresses(patient: Patient) -> Iterator[Finding]:
    cell = patient.cell
    addresses = [(arm.ip, arm.tcp_port) for arm in cell.arms.values() if arm.ip]
    if patient.plays_headsets:
        addresses += [(o.headset_ip, o.headset_port) for o in cell.operators.values()]
    for ip, port in addresses:
        problem = _bind(socket.SOCK_STREAM, ip, port)
        if problem:
            yield failed(
                f"{ip}:{port} cannot be used ({problem})",
                "",
                "stop the other simulated cell, or give this one other addresses in the section "
                "simulation of cell.yaml",
            )
        else:
            yield passed(f"{ip}:{port}", "free")


def _bind(kind: socket.SocketKind, ip: str, port: int) -> str:
    """Why a port cannot be opened; empty where it can."""
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:  # as the emulators do: a port just closed is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""
