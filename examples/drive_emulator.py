"""Stream a small motion to an emulated RM75 controller through the vendor's SDK, and stop."""

import dataclasses
import os
import threading
import time

import numpy as np

from arm_driver.plant import IdealPlant
from ate_core.contract import load_cell
from ate_core.loop import FixedRateLoop
from realman_driver.client import ArmClient
from realman_driver.emulator.server import ControllerServer, ServerConfig

# A loopback address and port of this process alone: it runs beside a simulated cell.
pid = os.getpid()
ip, udp_port = f"127.77.{pid // 250 % 250}.{1 + pid % 250}", 32000 + pid % 700
left = load_cell(hardware="sim").arms["left"]
arm = dataclasses.replace(left, ip=ip, udp_port=udp_port)
home = np.array(arm.home)

server = ControllerServer(ServerConfig(ip=ip, udp_port=udp_port), IdealPlant(home))
controller = threading.Thread(target=server.run)
controller.start()
client = ArmClient(arm)
client.start()
try:
    deadline = time.monotonic() + 10.0
    for _ in FixedRateLoop(100.0, threading.Event()):
        if not client.link_error and client.latest() is not None:
            break
        assert time.monotonic() < deadline, client.link_error
    print(f"connected to {arm.ip}, joints", np.round(client.latest().position, 3))

    # Who streams says which link it has seen: no target of before a break is sent after it.
    assert client.session == 1
    # A driver puts ate_core.safety between a command and this call; the path here is known.
    path = home + np.outer(0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, 100)), [0.1] + 6 * [0.0])
    for q, _ in zip(path, FixedRateLoop(100.0, threading.Event()), strict=False):
        assert client.stream(q)
    deadline = time.monotonic() + 5.0
    for _ in FixedRateLoop(100.0, threading.Event()):
        error = np.max(np.abs(client.latest().position - path[-1]))
        if error < 0.002:
            break
        assert time.monotonic() < deadline, f"{error:.4f} rad short of the goal"
    assert client.stop()
    print("arrived, joints", np.round(client.latest().position, 3), "and stopped")
finally:
    client.close()
    server.stop()
    controller.join()
