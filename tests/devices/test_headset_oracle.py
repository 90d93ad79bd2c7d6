"""The own client of the Vision Pro, where it is installed, sees what our reader sees."""

import importlib.util
import json
import subprocess
import sys
import time

import numpy as np
import pytest

from ate_core.geometry import rotation_exp, transform
from operator_devices.vision_pro import VisionProConfig, VisionProReader
from operator_devices.vision_pro_emulator import HeadsetEmulator, HeadsetEmulatorConfig

ADDRESS = "127.88.12.3"
CLIENT = f"""
import json, sys
from avp_stream import VisionProStreamer
latest = VisionProStreamer(ip="{ADDRESS}", record=False).get_latest()
names = ("left_wrist", "right_wrist", "head")
print("SEEN", json.dumps({{name: latest[name][0].tolist() for name in names}}), flush=True)
import os; os._exit(0)  # its threads go on for ever
"""


@pytest.mark.skipif(
    importlib.util.find_spec("avp_stream") is None,
    reason='compared where it is installed: pip install -e ".[oracles]"',
)
def test_the_headsets_own_client_and_our_reader_see_the_same_poses():
    poses = {
        "left_wrist": transform(rotation_exp([0.3, -1.2, 0.8]), [-0.31, 0.42, 1.13]),
        "right_wrist": transform(rotation_exp([-2.0, 0.4, 0.1]), [0.27, 0.51, 0.98]),
        "head": transform(rotation_exp([0.1, 0.2, -0.7]), [0.02, -0.05, 1.61]),
    }
    quiet = HeadsetEmulatorConfig(position_noise=0.0, rotation_noise=0.0)
    with HeadsetEmulator(ADDRESS, 12345, quiet) as headset:
        headset.set_head(poses["head"])
        for side in ("left", "right"):
            headset.set_wrist(side, poses[f"{side}_wrist"])
            headset.set_tracked(side, True)
        told = subprocess.run(
            [sys.executable, "-c", CLIENT], capture_output=True, text=True, timeout=60, check=True
        ).stdout
        theirs = json.loads(told.split("SEEN ")[1].splitlines()[0])
        for side in ("left", "right"):
            reader = VisionProReader(VisionProConfig(ip=ADDRESS, hand=side))
            reader.start()
            try:
                deadline = time.monotonic() + 30.0
                while (ours := reader.latest()) is None:
                    assert time.monotonic() < deadline, reader.status
                    reader.wait_change(0, 0.1)
            finally:
                reader.stop()
            np.testing.assert_allclose(
                ours.transform_wrist_to_headset, theirs[f"{side}_wrist"], atol=2e-7
            )
            np.testing.assert_allclose(ours.transform_head_to_headset, theirs["head"], atol=2e-7)
