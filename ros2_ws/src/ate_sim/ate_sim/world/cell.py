"""The cell without its task: two arms, cameras, table, light and solver settings."""

from collections.abc import Mapping, Sequence

from ate_core.camera_config import CameraConfig
from ate_sim.world.appearance import USUAL, Appearance
from ate_sim.world.arm import ArmBody, add_arm
from ate_sim.world.cameras import add_camera
from ate_sim.world.engine import mujoco


def build_cell(
    timestep: float,
    arms: Sequence[ArmBody],
    cameras: Mapping[str, CameraConfig],
    looks: Appearance = USUAL,
) -> mujoco.MjSpec:
    """Make the model of the cell, ready for task objects.

    Args:
        timestep: physics step [s].
        arms: left first.
        cameras: by role; those without a view are left out.
        looks: colours and light.
    """
    spec = mujoco.MjSpec()
    spec.modelname = "cell"
    spec.compiler.degree = False
    _set_solver(spec, timestep)
    _set_graphics(spec, looks.light)
    _add_surroundings(spec, looks)
    for arm in arms:
        add_arm(spec, arm, looks)
        _add_wrench_sensor(spec, arm)
    for role, camera in cameras.items():
        if camera.view is not None:
            add_camera(spec, role, camera.view)
    return spec


def _set_solver(spec: mujoco.MjSpec, timestep: float) -> None:
    # Elliptic cones with this impratio hold a grasp for a minute (0.2 mm of slip); the
    # defaults lose a cube.
    spec.option.timestep = timestep
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 100.0
    spec.option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    geom = spec.default.geom
    geom.friction = [1.0, 0.02, 0.0005]
    geom.solref = [0.01, 1.0]
    geom.solimp = [0.95, 0.99, 0.001, 0.5, 2.0]


def _set_graphics(spec: mujoco.MjSpec, light: float) -> None:
    # Multisampling and shadows cost 13 times the rest of a frame on a CPU.
    spec.visual.quality.offsamples = 0
    spec.visual.quality.shadowsize = 512
    spec.visual.headlight.ambient = [light * 0.38] * 3
    spec.visual.headlight.diffuse = [light * 0.25] * 3
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.visual.map.znear = 0.01
    spec.visual.map.zfar = 10.0
    spec.stat.extent = 1.0
    spec.stat.center = [0.3, 0.0, 0.1]


def _add_surroundings(spec: mujoco.MjSpec, looks: Appearance) -> None:
    world = spec.worldbody
    world.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[0.25, 0.0, -0.03],
        size=[0.45, 0.80, 0.03],
        rgba=looks.table,
    )
    world.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        pos=[0.0, 0.0, -0.75],
        size=[3.0, 3.0, 0.1],
        rgba=looks.floor,
    )
    world.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[0.0, 0.0, 2.0],
        dir=[0.25, 0.2, -1.0],
        diffuse=[looks.light * 0.5] * 3,
        specular=[0.1, 0.1, 0.1],
        castshadow=False,
    )


def _add_wrench_sensor(spec: mujoco.MjSpec, arm: ArmBody) -> None:
    """Add the sensor at the flange; like a real one, it shows no more than its range."""
    force, torque = arm.wrench_range or (0.0, 0.0)  # MuJoCo: 0 does not cut
    for name, kind, largest in (
        ("force", mujoco.mjtSensor.mjSENS_FORCE, force),
        ("torque", mujoco.mjtSensor.mjSENS_TORQUE, torque),
    ):
        spec.add_sensor(
            name=f"{arm.side}_{name}",
            type=kind,
            objtype=mujoco.mjtObj.mjOBJ_SITE,
            objname=f"{arm.side}_flange",
            cutoff=largest,
        )
