"""This machine: clocks, disk, priorities and rights."""

import ctypes
import grp
import os
import resource
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ate_bringup.doctor.finding import Patient
from ate_bringup.doctor.simulation import is_running
from ate_core.errors import UsageError
from ate_core.findings import Finding, failed, passed, warned
from ate_core.loop import FixedRateLoop
from ate_core.priority import CONTROL, FIFO_SETTING, HIGHEST_FIFO, wanted_fifo

MIN_FREE = 10e9
"""Free space below which a session is too short [byte]: an hour of three cameras takes 19 GB."""
REFUSED_FREE = 1e9
"""Free space at which the recorder soon starts no episode [byte]."""
MIN_WRITE = 50e6
"""Speed of the disk below which episodes may lose messages [byte/s]: three cameras write 5 MB/s,
and the page cache is written back in bursts."""
PROBE_SIZE = 32 << 20
"""Bytes that are written to measure the disk."""
TIMER_RATE, TIMER_TIME = 100.0, 1.0
"""Rate [Hz] and time [s] of the loop whose punctuality is measured: that of an arm's driver."""
MAX_LATENESS = 0.005
"""Lateness of a tick above which a stream of targets is no longer steady [s]."""
UNSYNCHRONISED = 0x40
"""STA_UNSYNC of adjtimex: nothing disciplines the wall clock."""
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
"""Where the kernel says how it clocks the processor."""
TTYS = Path("/sys/class/tty")
"""Where serial adapters have their settings."""
REALTIME_PRIORITY = HIGHEST_FIFO
"""SCHED_FIFO priority that docs/workstation.md grants."""


def look_at_clocks(patient: Patient) -> Iterator[Finding]:
    """The wall clock is kept right by somebody, the monotonic one ticks finely and on time."""
    yield _wall_clock()
    resolution = time.get_clock_info("monotonic").resolution
    if resolution > 1e-6:
        yield warned("monotonic clock", f"{1e6 * resolution:g} us", "use another kernel", "1 us")
    yield _timer()


def _wall_clock() -> Finding:
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex
        buffer = (ctypes.c_long * 64)()
        if state(ctypes.byref(buffer)) == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        status = ctypes.cast(buffer, ctypes.POINTER(_Timex)).contents.status
    except (OSError, AttributeError) as error:
        return warned(
            "wall clock", f"its state cannot be read ({error})", "look at `chronyc tracking`"
        )
    if status & UNSYNCHRONISED:
        return warned(
            "wall clock",
            "nothing synchronises it",
            "install chrony: stamps of two machines must agree within safety.stamp_max_age, and "
            "recordings are dated by it",
        )
    return passed("wall clock", "synchronised")


class _Timex(ctypes.Structure):
    """Head of the kernel's struct timex."""

    _fields_ = (
        ("modes", ctypes.c_int),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
    )


def _timer() -> Finding:
    """Punctuality of a loop in a thread, as a driver has it."""
    stop = threading.Event()
    late = []
    for due_ns in FixedRateLoop(TIMER_RATE, stop):
        late.append(1e-9 * (time.monotonic_ns() - due_ns))
        if len(late) >= TIMER_RATE * TIMER_TIME:
            break
    worst = sorted(late)[int(0.99 * len(late))]
    value = f"99 of 100 ticks at most {1e3 * worst:.1f} ms late"
    if worst > MAX_LATENESS:
        remedy = "end other programs, give the drivers a priority (docs/workstation.md)"
        return warned("timer at 100 Hz", value, remedy, f"{1e3 * MAX_LATENESS:g} ms")
    return passed("timer at 100 Hz", value)


def look_at_space(patient: Patient) -> Iterator[Finding]:
    """Bags fit on the disk."""
    folder = _existing(patient.output)
    for place in (patient.output.resolve(), *patient.output.resolve().parents):
        if place.exists() and not place.is_dir():
            yield failed(f"folder {patient.output}", f"{place} is none", "choose another folder")
            return
    free = shutil.disk_usage(folder).free
    value, what = f"{free / 1e9:.1f} GB free", f"disk of {folder}"
    remedy = "free space, or choose another output folder"
    if free < REFUSED_FREE:
        yield failed(what, value, remedy, f"{REFUSED_FREE / 1e9:g} GB")
    elif free < MIN_FREE:
        yield warned(what, value, remedy, f"{MIN_FREE / 1e9:g} GB")
    else:
        yield passed(what, value)
    if not os.access(folder, os.W_OK):
        yield failed(what, "cannot be written to", "change its owner, or the output folder")


def look_at_disk_speed(patient: Patient) -> Iterator[Finding]:
    """Bags are written as fast as the cell speaks."""
    folder = _existing(patient.output)
    if not os.access(folder, os.W_OK) or shutil.disk_usage(folder).free < 4 * PROBE_SIZE:
        return  # said by the space check
    block = os.urandom(1 << 20)
    with tempfile.TemporaryFile(dir=folder) as file:
        begin = time.monotonic()
        for _ in range(PROBE_SIZE // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        speed = PROBE_SIZE / (time.monotonic() - begin)
    value = f"writes {speed / 1e6:.0f} MB/s"
    if speed < MIN_WRITE:
        remedy = "record to an SSD, or loss of messages is likely"
        yield warned(f"disk of {folder}", value, remedy, f"{MIN_WRITE / 1e6:g} MB/s")
    else:
        yield passed(f"disk of {folder}", value)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above that exists."""
    folder = folder.resolve()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def look_at_processors(patient: Patient) -> Iterator[Finding]:
    """Drivers may run before other programs, on processors at full clock."""
    yield from _priorities()
    yield from _fifo()
    governor = _text(GOVERNOR)
    if governor and governor != "performance":
        remedy = "`sudo cpupower frequency-set -g performance`"
        yield warned("processor clock", governor, remedy, "performance")
    if len(os.sched_getaffinity(0)) < 2:
        yield warned("processors", "1", "a cell needs more than one core", "2")


def _priorities() -> Iterator[Finding]:
    remedy = "grant it in /etc/security/limits.conf (docs/workstation.md), then log in again"
    if os.geteuid() == 0:
        yield passed("priorities", "root may set any")
        return
    best = 20 - resource.getrlimit(resource.RLIMIT_NICE)[0]
    if best > CONTROL:
        yield warned("niceness", f"down to {best}", remedy, str(CONTROL))
    else:
        yield passed("niceness", f"down to {best}")
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    if limit < REALTIME_PRIORITY:
        yield warned("real-time priority", f"up to {limit}", remedy, str(REALTIME_PRIORITY))
    else:
        yield passed("real-time priority", f"up to {limit}")


def _fifo() -> Iterator[Finding]:
    """Whether the arms' streams get the real-time priority that this machine asks for."""
    name, remedy = "SCHED_FIFO", "grant rtprio (docs/workstation.md), or set it to 0"
    try:
        wanted = wanted_fifo()
    except UsageError as error:
        yield failed(name, str(error), f"correct {FIFO_SETTING} or unset it")
        return
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    if wanted and os.geteuid() != 0 and limit < wanted:
        value = f"{FIFO_SETTING}={wanted}, permitted up to {limit}"
        yield warned(name, value, remedy, str(wanted))
    elif wanted:
        yield passed(name, f"{FIFO_SETTING}={wanted}")


def look_at_rights(patient: Patient) -> Iterator[Finding]:
    """The device files of the cell are there and may be opened."""
    cell = patient.cell
    if not is_running(cell):
        return
    for side, gripper in cell.grippers.items():
        if gripper.port.startswith("/"):
            yield _device_file(f"{side} gripper", gripper.port, "dialout")
            yield from _latency(f"{side} gripper", gripper.port)
    for role, camera in cell.cameras.items():
        if camera.backend == "v4l2" and camera.serial.startswith("/"):
            yield _device_file(f"camera {role}", camera.serial, "video")
    if cell.operators and patient.hardware == "real":
        yield from _hidraw()


def _device_file(what: str, path: str, group: str) -> Finding:
    file = Path(path)
    try:
        mode = file.stat()
    except OSError as error:
        return failed(
            what,
            f"{path}: {error.strerror}",
            "plug the adapter in, or correct the path in the cell file",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        owner = _group_name(mode.st_gid) if stat.S_ISCHR(mode.st_mode) else group
        return failed(
            what,
            f"{path} may not be opened",
            f"`sudo usermod -aG {owner} $USER`, then log in again",
            "read and write",
        )
    return passed(what, f"{path} may be opened")


def _latency(what: str, path: str) -> Iterator[Finding]:
    """FTDI adapters hold short replies back for as long as their timer says."""
    timer = _text(TTYS / Path(path).resolve().name / "device" / "latency_timer")
    if timer.isdecimal() and int(timer) > 1:
        remedy = "install tools/udev/60-ate-cell.rules (docs/workstation.md)"
        yield warned(what, f"its adapter holds replies {timer} ms", remedy, "1 ms")


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _hidraw() -> Iterator[Finding]:
    """A Joy-Con is a hidraw device, which belongs to root until a rule says otherwise."""
    nodes = [
        Path("/dev") / entry.name
        for entry in sorted(Path("/sys/class/hidraw").glob("*"))
        if ":0000057E:" in _text(entry / "device" / "uevent").upper()
    ]
    for node in nodes:
        if os.access(node, os.R_OK | os.W_OK):
            yield passed(f"Joy-Con at {node}", "may be opened")
        else:
            yield failed(
                f"Joy-Con at {node}",
                "may not be opened",
                "install the udev rule for vendor 057e of docs/workstation.md, then pair it again",
                "read and write",
            )


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
