"""One arm with its gripper as MuJoCo bodies, from the kinematic chain.

Numbers without another source were found by trial to track and to hold a grasp for a minute.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.arm_model import Embodiment, Servos, load_arm_model
from ate_core.contract import Side
from ate_core.devices import ArmConfig
from ate_core.errors import ContractError
from ate_core.geometry import matrix_to_quaternion
from ate_core.kinematics import SerialChain
from ate_sim.world.appearance import USUAL, Appearance
from ate_sim.world.engine import mujoco

Array = NDArray[np.float64]

STROKE = 0.12
"""Opening of the gripper [m] (OmniPicker)."""
GRIP_FORCE = 30.0
"""Largest grip force [N] (OmniPicker)."""
FINGER_LENGTH = 0.17
"""Flange to fingertip [m]; the grasp point lies 10 mm before it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmBody:
    """One arm to build: its joints, what moves them, and where it stands."""

    side: str
    """``left`` or ``right``; prefix of all names in the model."""
    joints: tuple[str, ...]
    """Joints of its model, base first; their places are those of the arm's vectors."""
    chain: SerialChain
    """Base to flange; an embodiment may lack joints of the model."""
    servos: Servos
    """Motors and links, one number per joint of the model."""
    position: tuple[float, ...]
    """Base origin in the world [m]."""
    quaternion: tuple[float, ...]
    """Base orientation in the world, xyzw."""
    tool_length: float
    """Flange to grasp point [m]."""
    wrench_range: tuple[float, float] | None
    """Largest force [N] and moment [N m] that its sensor shows; None: any."""

    @property
    def slots(self) -> list[int]:
        """Place of each joint of the chain in the arm's vectors."""
        return [self.joints.index(joint.name) for joint in self.chain.joints]


def arm_body(side: Side, arm: ArmConfig, embodiment: Embodiment | None) -> ArmBody:
    """Body of a cell's arm, or of another one made from it.

    Raises:
        ContractError: its model does not say how to simulate it.
    """
    model = load_arm_model(arm.model)
    if model.simulation is None:
        raise ContractError(
            f"arm model {arm.model} cannot be simulated: give it a section 'simulation' with "
            "servo_gain, armature, radius and link_mass"
        )
    return ArmBody(
        side=side,
        joints=model.joints,
        chain=model.chain(embodiment),
        servos=model.simulation,
        position=arm.base_pose[:3],
        quaternion=arm.base_pose[3:],
        tool_length=arm.tool_length,
        wrench_range=model.wrench_range,
    )


def wxyz(quaternion: Array | tuple[float, ...]) -> list[float]:
    """MuJoCo's order of a quaternion xyzw."""
    x, y, z, w = (float(value) for value in quaternion)
    return [w, x, y, z]


def add_arm(spec: mujoco.MjSpec, arm: ArmBody, looks: Appearance = USUAL) -> None:
    """Add an arm with its servos and gripper to the model."""
    side, chain, servos = arm.side, arm.chain, arm.servos
    base = spec.worldbody.add_body(
        name=f"{side}_base", pos=list(arm.position), quat=wxyz(arm.quaternion)
    )
    _add_link_shape(base, looks, chain.joints[0].origin[:3, 3], 0.05, 0.0)
    bodies = [base]
    for index, (slot, joint) in enumerate(zip(arm.slots, chain.joints, strict=True)):
        body = bodies[-1].add_body(
            name=f"{side}_link{slot + 1}",
            pos=joint.origin[:3, 3],
            quat=wxyz(matrix_to_quaternion(joint.origin[:3, :3])),
            gravcomp=1.0,
        )
        body.add_joint(
            name=f"{side}_{joint.name}",
            type=mujoco.mjtJoint.mjJNT_HINGE,
            axis=joint.axis,
            range=[joint.lower, joint.upper],
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
            armature=servos.armature[slot],
            damping=2.0,
        )
        last = index + 1 == len(chain.joints)
        end = chain.tip[:3, 3] if last else chain.joints[index + 1].origin[:3, 3]
        shortening = servos.radius[slot] if last else 0.0  # the round cap must not fill the palm
        _add_link_shape(body, looks, end, servos.radius[slot], servos.link_mass[slot], shortening)
        _add_servo(spec, f"{side}_{joint.name}", joint.effort, servos.servo_gain[slot])
        bodies.append(body)
    bodies.append(_add_gripper(spec, looks, bodies[-1], side, chain.tip, arm.tool_length))
    _exclude_neighbours(spec, side, [body.name for body in bodies])


def _add_link_shape(
    body: mujoco.MjsBody,
    looks: Appearance,
    end: Array,
    radius: float,
    mass: float,
    shortening: float = 0.0,
) -> None:
    length = float(np.linalg.norm(end))
    if length < 2 * radius:
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[radius, 0, 0], mass=mass, rgba=looks.joint
        )
        return
    stop = np.asarray(end) * (1.0 - shortening / length)
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[0.0, 0.0, 0.0, *stop],
        size=[radius, 0, 0],
        mass=mass,
        rgba=looks.arm,
    )


def _add_servo(spec: mujoco.MjSpec, joint: str, effort: float, gain: float) -> None:
    actuator = spec.add_actuator(
        name=joint,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        target=joint,
        forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE,
        forcerange=[-effort, effort],
    )
    actuator.set_to_position(kp=gain, dampratio=1.0)


def _add_gripper(
    spec: mujoco.MjSpec,
    looks: Appearance,
    link: mujoco.MjsBody,
    side: str,
    tip: Array,
    tool_length: float,
) -> mujoco.MjsBody:
    gripper = link.add_body(
        name=f"{side}_gripper",
        pos=tip[:3, 3],
        quat=wxyz(matrix_to_quaternion(tip[:3, :3])),
        gravcomp=1.0,
    )
    _box(gripper, (0.0, 0.0, 0.035), (0.030, 0.035, 0.035), 0.35, looks.joint)
    _box(gripper, (0.0, 0.0, 0.080), (0.016, 0.072, 0.012), 0.10, looks.joint)
    gripper.add_site(name=f"{side}_flange", group=4)  # groups from 3 on are not drawn
    gripper.add_site(name=f"{side}_tool", pos=[0.0, 0.0, tool_length], group=4)
    for name, sign in (("finger_a", 1.0), ("finger_b", -1.0)):
        finger = gripper.add_body(name=f"{side}_{name}", gravcomp=1.0)
        finger.add_joint(
            name=f"{side}_{name}",
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[0.0, sign, 0.0],
            range=[0.0, STROKE / 2],
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
            armature=0.05,
            damping=5.0,
        )
        _box(finger, (0.0, sign * 0.006, 0.117), (0.009, 0.006, 0.025), 0.03, looks.finger)
        _add_pad(finger, sign, looks)
    _add_finger_drive(spec, side)
    return gripper


def _add_pad(finger: mujoco.MjsBody, sign: float, looks: Appearance) -> None:
    pad = _box(
        finger,
        (0.0, sign * 0.004, FINGER_LENGTH - 0.014),
        (0.011, 0.004, 0.014),
        0.02,
        looks.finger,
    )
    # Torsional friction keeps a bar that is held off its middle from turning.
    pad.friction = [1.5, 0.05, 0.001]
    pad.condim = 4
    pad.priority = 1
    pad.solref = [0.01, 1.0]
    pad.solimp = [0.95, 0.99, 0.001, 0.5, 2.0]


def _add_finger_drive(spec: mujoco.MjSpec, side: str) -> None:
    polynomial = [0.0] * 12
    polynomial[1] = 1.0  # finger_a = finger_b
    spec.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT,
        name1=f"{side}_finger_a",
        name2=f"{side}_finger_b",
        data=polynomial,
    )
    tendon = spec.add_tendon(name=f"{side}_opening")
    tendon.wrap_joint(f"{side}_finger_a", 1.0)
    tendon.wrap_joint(f"{side}_finger_b", 1.0)
    actuator = spec.add_actuator(
        name=f"{side}_gripper",
        trntype=mujoco.mjtTrn.mjTRN_TENDON,
        target=f"{side}_opening",
        forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE,
        forcerange=[-GRIP_FORCE, GRIP_FORCE],
    )
    actuator.set_to_position(kp=600.0, kv=30.0)


def _exclude_neighbours(spec: mujoco.MjSpec, side: str, names: list[str]) -> None:
    """Ignore contacts between bodies up to two apart: their shapes overlap at folded postures."""
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 : i + 3]]
    fingers = [f"{side}_finger_a", f"{side}_finger_b"]
    pairs += [(name, finger) for name in names[-2:] for finger in fingers]
    for first, second in pairs:
        spec.add_exclude(bodyname1=first, bodyname2=second)


def _box(
    body: mujoco.MjsBody,
    centre: tuple[float, float, float],
    half: tuple[float, float, float],
    mass: float,
    colour: tuple[float, float, float, float],
) -> mujoco.MjsGeom:
    return body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, pos=list(centre), size=list(half), mass=mass, rgba=colour
    )
