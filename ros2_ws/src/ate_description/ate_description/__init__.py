"""The robot description: one URDF that kinematics, simulation and viewers read."""

from ate_description.model import (
    Embodiment,
    load_chain,
    load_urdf_text,
    parse_chain,
    urdf_variant,
)

__all__ = ["Embodiment", "load_chain", "load_urdf_text", "parse_chain", "urdf_variant"]
