"""Where the controller answers that its joints are, beside where it pushes that they are.

The push may freeze, or be in other units, while everything else of it lives. A planned move to
where it says the arm is would then swing the arm; so the other source is asked.
"""

from typing import Any

from realman_driver.states import Motion, States

LARGEST_DOUBT = 1.0
"""Distance of two sources up to which both are believed [deg]."""


def ask_joints(arm: Any, states: States) -> tuple[int, str]:
    """Ask for the joints; the library's code, and what contradicts the push, or nothing.

    They are compared while the push says that the arm rests: in motion the two are of two times.

    Args:
        arm: the library's.
        states: what the controller pushes.
    """
    before = states.motion()
    code, answered = arm.rm_get_joint_degree()
    after = states.motion()
    if code != 0 or before is None or after is None or not (before.rests and after.rests):
        return int(code), ""
    distances = [abs(there - here) for there, here in zip(answered, after.degrees, strict=False)]
    for joint, distance in enumerate(distances):
        if not distance <= LARGEST_DOUBT:
            return 0, (
                f"answers {answered[joint]:.1f} degrees for joint {joint + 1} and pushes "
                f"{after.degrees[joint]:.1f}, bound {LARGEST_DOUBT:g}: restart the controller"
            )
    return 0, ""


def distance(motion: Motion, degrees: tuple[float, ...]) -> float:
    """Largest distance of a joint from another place of all of them [deg]."""
    return max(abs(here - there) for here, there in zip(motion.degrees, degrees, strict=False))
