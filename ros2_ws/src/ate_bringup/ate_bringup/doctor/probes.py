"""Ask each device through the probe of its package, in a process that can be ended."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ate_bringup.doctor.finding import Patient
from ate_bringup.doctor.simulation import is_running
from ate_bringup.processes import DISCOVERY_VARIABLE, driver_package, operator_environment
from ate_core.contract import RUNTIME_VARIABLE, Cell
from ate_core.device_names import (
    arm_device,
    camera_device,
    gripper_device,
    headset_device,
    joycon_device,
)
from ate_core.findings import Finding, failed, passed, warned
from ate_core.nodes.claim import DeviceClaim, in_domain

PROBE_LIMIT = 15.0
"""Time that a probe has [s]: a RealSense camera takes 6 s to its first picture."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One device to ask."""

    what: str
    """The device in words."""
    package: str
    """Package that has the module ``probe``."""
    name: str
    """Side or role."""
    claim: str = ""
    """Name that its driver has within a ROS domain."""
    devices: tuple[str, ...] = ()
    """What it is, on this host (see `ate_core.device_names`)."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables on top of ours."""


def arm_probes(cell: Cell) -> Iterator[Probe]:
    """The controllers of the arms."""
    for side, arm in cell.arms.items():
        yield Probe(
            what=f"{side} arm",
            package=driver_package(arm),
            name=side,
            claim=f"{arm.namespace}/arm",
            devices=(arm_device(arm),),
        )


def gripper_probes(cell: Cell) -> Iterator[Probe]:
    """The grippers."""
    for side, gripper in cell.grippers.items():
        yield Probe(
            what=f"{side} gripper",
            package="omnipicker_driver",
            name=side,
            claim=f"{gripper.namespace}/gripper",
            devices=(gripper_device(gripper),),
        )


def camera_probes(cell: Cell) -> Iterator[Probe]:
    """The cameras."""
    for role, camera in cell.cameras.items():
        yield Probe(
            what=f"camera {role}",
            package="realsense_camera",
            name=role,
            claim=f"/cameras/{role}",
            devices=(camera_device(camera),),
        )


def operator_probes(cell: Cell) -> Iterator[Probe]:
    """Headset and Joy-Con of each operator."""
    for side, operator in cell.operators.items():
        yield Probe(
            what=f"{side} operator",
            package="operator_devices",
            name=side,
            devices=(headset_device(operator), joycon_device(operator)),
            environment=operator_environment(cell),
        )


def look_with(probes: Callable[[Cell], Iterator[Probe]]) -> Callable[[Patient], Iterator[Finding]]:
    """A check that asks these devices side by side."""

    def look(patient: Patient) -> Iterator[Finding]:
        asked = list(probes(patient.cell)) if is_running(patient.cell) else []
        if not asked:
            return
        with ThreadPoolExecutor(max_workers=len(asked)) as pool:
            for found in pool.map(lambda probe: list(ask(probe, patient)), asked):
                yield from found

    return look


def ask(probe: Probe, patient: Patient) -> Iterator[Finding]:
    """What the probe of one device says; whoever uses it already is not disturbed."""
    domain = int(os.environ.get("ROS_DOMAIN_ID", "0") or 0)
    names = (in_domain(probe.claim, domain) if probe.claim else "", *probe.devices)
    claim = DeviceClaim(lambda: names)
    if claim.take():
        yield passed(probe.what, "a driver runs and is not disturbed: see /diagnostics")
        return
    try:
        yield from _look(probe, patient)
    finally:
        claim.release()


def _look(probe: Probe, patient: Patient) -> Iterator[Finding]:
    if importlib.util.find_spec(f"{probe.package}.probe") is None:
        yield warned(probe.what, f"{probe.package} has no probe", "look at its driver's messages")
        return
    words = ["--name", probe.name, "--hardware", patient.hardware]
    words += ["--cell", str(patient.cell_name)] if patient.cell_name else []
    yield from _run(probe, [sys.executable, "-m", f"{probe.package}.probe", *words], patient.cell)


def _run(probe: Probe, command: list[str], cell: Cell) -> Iterator[Finding]:
    environment = {**os.environ, **probe.environment}
    if cell.hardware == "sim":
        environment |= {RUNTIME_VARIABLE: cell.runtime_dir, DISCOVERY_VARIABLE: "LOCALHOST"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        output, errors = process.communicate(timeout=PROBE_LIMIT)
        hung = False
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        hung = True
    lines = [line for line in output.splitlines() if line.startswith("{")]
    for line in lines:
        yield Finding(**json.loads(line))
    if hung:
        yield failed(
            probe.what,
            f"its library does not return within {PROBE_LIMIT:g} s",
            "switch the device off and on",
        )
    elif process.returncode != 0 or not lines:
        last = " ".join(errors.strip().splitlines()[-1:]) or f"code {process.returncode}"
        yield failed(probe.what, f"its probe ended: {last}", "switch the device off and on")
