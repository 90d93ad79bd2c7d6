"""How nodes find each other."""

import os
import socket
import struct
from collections.abc import Iterator

from ate_bringup.doctor.finding import Patient
from ate_core.findings import Finding, failed, passed, warned

TESTED_MIDDLEWARE = "rmw_fastrtps_cpp"
"""What the stack is tested with."""
LARGEST_DOMAIN = 101
"""Domains above meet the ports that Linux hands out to other programs."""
GROUP, PORT = "239.255.0.1", 17_999
"""Multicast group of discovery, and a port that it does not use."""


def look_at_discovery(patient: Patient) -> Iterator[Finding]:
    """The variables of the middleware, as every node will read them."""
    yield _middleware()
    yield _domain()
    yield _range()


def _middleware() -> Finding:
    name = os.environ.get("RMW_IMPLEMENTATION", TESTED_MIDDLEWARE)
    if name == TESTED_MIDDLEWARE:
        return passed("middleware", name)
    return warned("middleware", name, "unset RMW_IMPLEMENTATION: not tried", TESTED_MIDDLEWARE)


def _domain() -> Finding:
    text = os.environ.get("ROS_DOMAIN_ID", "0") or "0"
    if not text.isdecimal() or int(text) > LARGEST_DOMAIN:
        return failed(
            "ROS_DOMAIN_ID", text, "set a free number, the same in each terminal", "0 to 101"
        )
    if text == "0":
        return warned(
            "ROS_DOMAIN_ID",
            "0, which every robot of the network has by default",
            "export ROS_DOMAIN_ID=… on all machines of this cell",
        )
    return passed("ROS_DOMAIN_ID", text)


def _range() -> Finding:
    text = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET") or "SUBNET"
    known = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")
    if text not in known:
        remedy = f"set one of {', '.join(known)}"
        return failed("ROS_AUTOMATIC_DISCOVERY_RANGE", text, remedy)
    if text == "OFF":
        return failed(
            "ROS_AUTOMATIC_DISCOVERY_RANGE", text, "nodes do not find each other: LOCALHOST"
        )
    return passed("discovery range", text)


def look_at_multicast(patient: Patient) -> Iterator[Finding]:
    """Discovery needs multicast, on the loopback interface too."""
    try:
        reached = _hears_itself()
    except OSError as error:
        reached, reason = False, error.strerror or str(error)
    else:
        reason = "what is sent does not arrive"
    if reached:
        yield passed("multicast", "arrives")
    else:
        yield warned(
            "multicast",
            reason,
            "let the firewall pass 239.255.0.1, or `sudo ip link set lo multicast on`; else "
            "nodes do not find each other",
        )


def _hears_itself() -> bool:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth,
    ):
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.bind(("", PORT))
        here = socket.inet_aton("127.0.0.1")
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + here)
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
        ear.settimeout(0.5)
        word = struct.pack("<Q", os.getpid())
        mouth.sendto(word, (GROUP, PORT))
        try:
            return ear.recv(64) == word
        except TimeoutError:
            return False
