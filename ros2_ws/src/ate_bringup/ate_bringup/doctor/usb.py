"""Which cameras share one USB controller, and how fast each link is."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ate_bringup.doctor.finding import Patient
from ate_bringup.doctor.libraries import L515_REMEDY
from ate_core.findings import Finding, failed, passed, warned

DEVICES = Path("/sys/bus/usb/devices")
REALSENSE_VENDOR = "8086"
PRODUCTS = {"0b64": "L515", "0b5b": "D405", "0b3a": "D435i", "0b07": "D435", "0b5c": "D455"}
"""Product ids of RealSense cameras by their names."""
SUPER_SPEED = 5000
"""Speed of USB 3 [Mbit/s]."""
CAMERAS_PER_CONTROLLER = 1
"""More on one controller are known to lose frames."""


@dataclass(frozen=True, kw_only=True)
class UsbCamera:
    """One camera on the bus."""

    name: str
    """Model, or the maker's product string."""
    serial: str
    """Serial number of the USB device; not always the one that the SDK shows."""
    speed: int
    """Speed of its link [Mbit/s]."""
    controller: str
    """The controller that it hangs on."""


def look_at_usb(patient: Patient) -> Iterator[Finding]:
    """Cameras on USB 3, spread over controllers; an L515 is read by what can read it."""
    backends = {camera.backend for camera in patient.cell.cameras.values()}
    if not backends & {"realsense", "v4l2"}:
        return
    cameras = list(usb_cameras(DEVICES))
    if not cameras:
        yield warned("cameras on USB", "none", "plug them in")
        return
    shared = defaultdict(list)
    for camera in cameras:
        shared[camera.controller].append(camera.name)
        what, value = f"{camera.name} {camera.serial}", f"{camera.speed} Mbit/s"
        if camera.speed < SUPER_SPEED:
            remedy = "use a USB 3 port and cable: a slower link offers fewer sizes and rates"
            yield warned(what, value, remedy, f"{SUPER_SPEED} Mbit/s")
        else:
            yield passed(what, f"{value} on {camera.controller}")
    for controller, names in shared.items():
        if len(names) > CAMERAS_PER_CONTROLLER:
            yield warned(
                f"USB controller {controller}",
                f"{len(names)} cameras ({', '.join(names)})",
                "spread them over controllers (another port of the board, or a PCIe card)",
                f"at most {CAMERAS_PER_CONTROLLER}",
            )
    yield from _l515(patient, [camera.name for camera in cameras])


def _l515(patient: Patient, names: list[str]) -> Iterator[Finding]:
    wanted = sum(camera.backend == "realsense" for camera in patient.cell.cameras.values())
    seen = sum(name != "L515" for name in names)
    if "L515" in names and wanted > seen:
        yield failed(
            "L515",
            f"connected, and the cell asks {wanted} cameras of backend realsense while {seen} "
            "others are there",
            L515_REMEDY,
        )


def usb_cameras(devices: Path) -> Iterator[UsbCamera]:
    """RealSense and other video devices of a folder like ``/sys/bus/usb/devices``."""
    for entry in sorted(devices.glob("*")):
        vendor, product = _read(entry / "idVendor"), _read(entry / "idProduct")
        is_video = any(
            _read(interface / "bInterfaceClass") == "0e" for interface in entry.glob("*:*")
        )
        if not vendor or not ((vendor == REALSENSE_VENDOR and product in PRODUCTS) or is_video):
            continue
        speed = _read(entry / "speed")
        yield UsbCamera(
            name=PRODUCTS.get(product, _read(entry / "product") or f"{vendor}:{product}"),
            serial=_read(entry / "serial"),
            speed=int(float(speed)) if speed else 0,
            controller=_controller(entry),
        )


def _controller(entry: Path) -> str:
    """PCI address of the controller, or the name of the bus."""
    parts = entry.resolve().parts
    root = next((i for i, part in enumerate(parts) if part.startswith("usb")), None)
    return parts[root - 1] if root else entry.name.split("-")[0]


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
