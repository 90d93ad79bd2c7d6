"""Where the controller answers that its joints are, beside where it pushes that they are.

The push may freeze, or be in other units, while everything else of it lives. A planned move to
where it says the arm is would then swing the arm; so the other source is asked.
"""

import time
from collections.abc import Sequence
from typing import Any

from realman_driver.states import States

LARGEST_DOUBT = 1.0
"""Distance of two sources up to which both are believed [deg]."""
RECENT = 0.1
"""Age up to which a push says where the arm is now [s]."""


def ask_joints(arm: Any, states: States) -> tuple[bool, str]:
    """Ask for the joints; whether an answer came, and what is wrong with it, or with none.

    They are compared while pushes come that say that the arm rests: in motion, or beside an old
    one, the two are of two times.

    Args:
        arm: the library's.
        states: what the controller pushes.
    """
    before = states.motion()
    code, answered = arm.rm_get_joint_degree()
    after = states.motion()
    if code != 0:
        return False, f"does not answer ({code})"
    is_recent = time.monotonic() - states.pushed_at <= RECENT
    if not is_recent or before is None or after is None or not (before.rests and after.rests):
        return True, ""
    return True, contradiction(after.degrees, answered)


def contradiction(pushed: Sequence[float], answered: Sequence[float]) -> str:
    """In which joint two sources differ, with both values and the bound; empty where they agree.

    Args:
        pushed: joints of the push [deg].
        answered: joints that the controller answered [deg].
    """
    for joint, (here, there) in enumerate(zip(pushed, answered, strict=False), 1):
        if not abs(there - here) <= LARGEST_DOUBT:
            return (
                f"answers {there:.1f} degrees for joint {joint} and pushes {here:.1f}, bound "
                f"{LARGEST_DOUBT:g}: restart the controller"
            )
    return ""
