"""How the cell looks, apart from what it does: colours of arms, table and floor, and the light."""

from dataclasses import dataclass

import numpy as np

from ate_sim.world.shapes import Colour

_LEAST_APART = 0.35
"""Of drawn colours from the usual ones, the largest of the three differences."""


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """Colours are red, green, blue and opacity in 0..1. Physics does not know them."""

    arm: Colour = (0.80, 0.81, 0.83, 1.0)
    """Links."""
    joint: Colour = (0.30, 0.32, 0.36, 1.0)
    """Joints and palm."""
    finger: Colour = (0.20, 0.21, 0.23, 1.0)
    """Fingers."""
    table: Colour = (0.42, 0.40, 0.37, 1.0)
    """Table; a bright one saturates and hides white plates."""
    floor: Colour = (0.26, 0.28, 0.31, 1.0)
    """Floor."""
    light: float = 1.0
    """Brightness as a share of the usual."""


USUAL = Appearance()


def drawn_appearance(seed: int) -> Appearance:
    """An appearance in which arms, table, floor and light are clearly not the usual ones."""
    rng = np.random.default_rng(seed)

    def colour(usual: Colour, low: float, high: float) -> Colour:
        while True:
            red, green, blue = (float(value) for value in rng.uniform(low, high, 3))
            apart = np.abs(np.subtract((red, green, blue), usual[:3])).max()
            if apart >= _LEAST_APART:
                return (red, green, blue, 1.0)

    return Appearance(
        arm=colour(USUAL.arm, 0.1, 0.9),
        joint=colour(USUAL.joint, 0.1, 0.9),
        finger=colour(USUAL.finger, 0.1, 0.9),
        table=colour(USUAL.table, 0.05, 0.8),
        floor=colour(USUAL.floor, 0.05, 0.8),
        light=float(rng.choice([rng.uniform(0.6, 0.75), rng.uniform(1.25, 1.4)])),
    )
