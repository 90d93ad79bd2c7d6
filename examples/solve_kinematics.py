"""Forward kinematics and Jacobian of the RM75-6F, without ROS or a robot."""

import numpy as np

from ate_core.arm_model import load_arm_model
from ate_core.geometry import matrix_to_pose

chain = load_arm_model("rm75_6f").chain()
q = np.array([0.0, -0.35, 0.0, 2.0, 0.0, 1.4916, 0.0])
pose = matrix_to_pose(chain.fk(q))
print("flange at", np.round(pose[:3], 4), "m, quaternion xyzw", np.round(pose[3:], 4))

step = np.array([0.0, 0.0, 0.01, 0.0, 0.0, 0.0])  # one centimetre up
dq = np.linalg.lstsq(chain.jacobian(q), step, rcond=None)[0]
moved = chain.fk(q + dq)[:3, 3] - chain.fk(q)[:3, 3]
print("asked for 10 mm up, got", np.round(1e3 * moved, 2), "mm")
assert np.allclose(moved, step[:3], atol=1e-3)
