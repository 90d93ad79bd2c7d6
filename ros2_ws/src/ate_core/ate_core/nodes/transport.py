"""How messages of our nodes go from process to process: through the kernel.

Fast DDS would use memory that the processes of one machine share, with a lock on each queue that
whoever sends takes for whoever receives. A process that is stopped or put aside while it holds one
keeps all who send to it spinning for up to a second, an arm's stream too, at the priority of that
stream. Sockets have no such locks. Others, as RViz or `ros2 topic`, need no setting for it.
"""

import os
from importlib import resources

MIDDLEWARE, FAST_DDS = "RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"
"""Variable that names the middleware, and the one that Jazzy uses where nothing is said."""
RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
"""How far ROS looks for other nodes."""
TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"
"""Variable of Fast DDS for what it carries messages by; ROS passes over it for LOCALHOST."""
PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"
"""Variable of Fast DDS for a file that says all of it."""
OWN_WAYS = (TRANSPORTS, PROFILES, "ROS_STATIC_PEERS")
"""Who sets one of these says how messages go."""


def use_sockets() -> None:
    """Let the nodes of this process use sockets, where nobody asked for something else.

    Call it before ROS is initialised.
    """
    profile = str(resources.files("ate_core") / "config/loopback_sockets.xml")
    said = {os.environ.get(name, "") for name in OWN_WAYS} - {"", profile}
    if said or os.environ.get(MIDDLEWARE) not in (None, "", FAST_DDS):
        return
    reach = os.environ.get(RANGE, "")
    if reach == "LOCALHOST":  # ROS would add shared memory to it: the profile is the same without
        os.environ[PROFILES] = profile
        os.environ[RANGE] = "SYSTEM_DEFAULT"
    elif reach != "OFF" and PROFILES not in os.environ:
        os.environ[TRANSPORTS] = "UDPv4"
