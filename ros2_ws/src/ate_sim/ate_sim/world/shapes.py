"""Shapes of the task objects: simple solids that hold still when grasped."""

import numpy as np

from ate_sim.world.engine import mujoco

Colour = tuple[float, float, float, float]

RED: Colour = (0.76, 0.22, 0.18, 1.0)
BLUE: Colour = (0.18, 0.36, 0.66, 1.0)
PORCELAIN: Colour = (0.86, 0.87, 0.88, 1.0)
BAMBOO: Colour = (0.72, 0.55, 0.32, 1.0)
DARK_BAMBOO: Colour = (0.52, 0.37, 0.20, 1.0)
DOUGH: Colour = (0.93, 0.86, 0.72, 1.0)
TOAST: Colour = (0.80, 0.58, 0.30, 1.0)
STEEL: Colour = (0.55, 0.58, 0.62, 1.0)
BLACK: Colour = (0.12, 0.12, 0.13, 1.0)

PLATE_RADIUS = 0.065
PLATE_HEIGHT = 0.008
# The opened gripper, 0.144 m wide, fits inside the steamer.
STEAMER_RADIUS = 0.088
STEAMER_HEIGHT = 0.056
STEAMER_FLOOR = 0.004
LID_RADIUS = 0.108
LID_THICKNESS = 0.008
KNOB_HEIGHT = 0.030
KNOB_GRASP = LID_THICKNESS + 0.017
"""Height of the grasp point above the lid's lower face [m]."""
BUN_RADIUS = 0.026
BUN_HEIGHT = 0.040


def movable(spec: mujoco.MjSpec, name: str) -> mujoco.MjsBody:
    """A body that can be picked up."""
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    return body


def fixture(spec: mujoco.MjSpec, name: str) -> mujoco.MjsBody:
    """A body that is put somewhere at reset and then stays: it may stand on suction cups."""
    return spec.worldbody.add_body(name=name, mocap=True)


def box(
    body: mujoco.MjsBody,
    half: tuple[float, float, float],
    colour: Colour,
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
    mass: float = 0.05,
    yaw: float = 0.0,
) -> mujoco.MjsGeom:
    """Add a box.

    Args:
        body: owner.
        half: half sizes [m].
        colour: RGBA.
        centre: in the body frame [m].
        mass: [kg].
        yaw: about z of the body [rad].
    """
    return body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=list(centre),
        quat=[np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)],
        size=list(half),
        rgba=colour,
        mass=mass,
    )


def cylinder(
    body: mujoco.MjsBody,
    radius: float,
    height: float,
    colour: Colour,
    bottom: float,
    mass: float = 0.05,
) -> mujoco.MjsGeom:
    """Add an upright cylinder whose lower face lies at ``bottom`` in the body frame [m]."""
    return body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        pos=[0.0, 0.0, bottom + height / 2],
        size=[radius, height / 2, 0.0],
        rgba=colour,
        mass=mass,
    )


def ring(
    body: mujoco.MjsBody, radius: float, height: float, colour: Colour, segments: int = 16
) -> None:
    """Add a ring wall of boxes, standing on z = 0 of the body, with inner ``radius`` [m]."""
    thickness = 0.003
    half_width = (radius + 2 * thickness) * np.tan(np.pi / segments)
    for index in range(segments):
        angle = 2 * np.pi * index / segments
        distance = radius + thickness
        centre = (distance * np.cos(angle), distance * np.sin(angle), height / 2)
        box(body, (thickness, half_width, height / 2), colour, centre, yaw=angle)


def add_plate(spec: mujoco.MjSpec, name: str) -> None:
    """A flat plate; its origin is the centre of its lower face."""
    plate = fixture(spec, name)
    cylinder(plate, PLATE_RADIUS, PLATE_HEIGHT, PORCELAIN, bottom=0.0)
    mark = cylinder(plate, PLATE_RADIUS * 0.7, 0.0005, BLUE, bottom=PLATE_HEIGHT)
    mark.contype = mark.conaffinity = 0


def add_bun(spec: mujoco.MjSpec, name: str) -> None:
    """A steamed bun; its origin is its centre."""
    radius, height = BUN_RADIUS, BUN_HEIGHT
    bun = movable(spec, name)
    cylinder(bun, radius, height, DOUGH, bottom=-height / 2, mass=0.06)
    dome = bun.add_geom(
        type=mujoco.mjtGeom.mjGEOM_ELLIPSOID,
        pos=[0.0, 0.0, height / 2],
        size=[radius, radius, 0.22 * height],
        rgba=DOUGH,
        mass=0.0,
    )
    dome.contype = dome.conaffinity = 0


def add_steamer(spec: mujoco.MjSpec, name: str) -> None:
    """A round steamer without lid; its origin is the centre of its lower face."""
    steamer = fixture(spec, name)
    cylinder(steamer, STEAMER_RADIUS + 0.003, STEAMER_FLOOR, DARK_BAMBOO, bottom=0.0)
    ring(steamer, STEAMER_RADIUS, STEAMER_HEIGHT, BAMBOO)


def add_lid(spec: mujoco.MjSpec, name: str) -> None:
    """A disc with a knob, wider than the steamer; its origin is the centre of its lower face."""
    lid = movable(spec, name)
    cylinder(lid, LID_RADIUS, LID_THICKNESS, BAMBOO, bottom=0.0, mass=0.07)
    knob = (0.012, 0.012, KNOB_HEIGHT / 2)
    centre = (0.0, 0.0, LID_THICKNESS + KNOB_HEIGHT / 2)
    box(lid, knob, DARK_BAMBOO, centre, mass=0.03)
