"""What a rule finds in an episode, and the rules by name.

A rule is a function of a recorded episode that yields findings; its docstring says the rule in
words and where its bound comes from. Where an episode cannot show a fault, for nothing moves in
it, a rule yields `Untold`: silence says that it was looked at and is sound. Rules of `REFUSALS`
are cheap and run at every conversion: an episode with one of their findings is rejected. Rules of
`FLAGS` run in ``ate audit``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ate_core.registry import Registry
from training.data.bag_reader import BagEpisode

Severity = Literal["refuse", "flag"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing in an episode that is not as it must be."""

    rule: str
    """Name of the rule."""
    severity: Severity
    """refuse: the episode is not converted; flag: people decide."""
    stream: str
    """Stream at fault, for instance ``left_arm_state``; empty where it is the whole episode."""
    message: str
    """What is wrong, with value, bound and remedy."""
    value: float
    """What was measured, in the unit that the message names."""
    bound: float
    """What is allowed."""
    start_s: float
    """First moment at which it is so, from the start of the episode [s]."""
    end_s: float
    """Last such moment [s]."""

    def __str__(self) -> str:
        """One line that names the rule."""
        return f"{self.rule}: {self.message}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Untold:
    """Why a rule cannot tell whether an episode is as it must be: its fault would not show."""

    rule: str
    """Name of the rule."""
    stream: str
    """Stream that is not judged."""
    reason: str
    """What the episode lacks, in words."""

    def __str__(self) -> str:
        """One line that names the rule."""
        return f"{self.rule} cannot tell of {self.stream}: {self.reason}"


Rule = Callable[[BagEpisode], Iterator[Finding | Untold]]

REFUSALS = Registry(
    what="refusing audit rule",
    group="ate.audit_refusals",
    builtin={
        "missing_stream": "training.audit.rules.presence:missing_stream",
        "not_finite": "training.audit.rules.bounds:not_finite",
        "joint_limits": "training.audit.rules.bounds:joint_limits",
        "gripper_range": "training.audit.rules.bounds:gripper_range",
        "wrench_range": "training.audit.rules.bounds:wrench_range",
        "unit_quaternion": "training.audit.rules.bounds:unit_quaternion",
        "broken_image": "training.audit.rules.images:broken_image",
        "frozen_camera": "training.audit.rules.images:frozen_camera",
        "no_command": "training.audit.rules.commands:no_command",
        "frozen_joints": "training.audit.rules.commands:frozen_joints",
        "swapped_arms": "training.audit.rules.commands:swapped_arms",
        "stale_command": "training.audit.rules.following:stale_command",
    },
)
"""Rules whose findings keep an episode from being converted."""

FLAGS = Registry(
    what="audit rule",
    group="ate.audit_rules",
    builtin={
        "recorder_counts": "training.audit.rules.presence:recorder_counts",
        "gaps": "training.audit.rules.timing:gaps",
        "rate": "training.audit.rules.timing:rate",
        "skew": "training.audit.rules.timing:skew",
        "clock_step": "training.audit.rules.timing:clock_step",
        "repeated_stamps": "training.audit.rules.timing:repeated_stamps",
        "out_of_order": "training.audit.rules.timing:out_of_order",
        "idle": "training.audit.rules.motion:idle",
        "jerk": "training.audit.rules.motion:jerk",
        "jump": "training.audit.rules.motion:jump",
        "told_speed": "training.audit.rules.motion:told_speed",
        "near_limit": "training.audit.rules.motion:near_limit",
        "command_lag": "training.audit.rules.motion:command_lag",
        "off_command": "training.audit.rules.following:off_command",
        "uncommanded_motion": "training.audit.rules.following:uncommanded_motion",
        "copied_stream": "training.audit.rules.copies:copied_stream",
        "copied_command": "training.audit.rules.copies:copied_command",
        "repeated_states": "training.audit.rules.copies:repeated_states",
        "gripper_follows": "training.audit.rules.following:gripper_follows",
        "nothing_done": "training.audit.rules.outcome:nothing_done",
        "gripper_chatter": "training.audit.rules.motion:gripper_chatter",
        "frozen_gripper": "training.audit.rules.motion:frozen_gripper",
        "frozen_wrench": "training.audit.rules.wrench:frozen_wrench",
        "force_peak": "training.audit.rules.wrench:force_peak",
        "clutch_losses": "training.audit.rules.teleoperation:clutch_losses",
        "reach_edge": "training.audit.rules.teleoperation:reach_edge",
        "guard_held": "training.audit.rules.teleoperation:guard_held",
        "undecodable": "training.audit.rules.pictures:undecodable",
        "blackout": "training.audit.rules.pictures:blackout",
        "blur": "training.audit.rules.pictures:blur",
        "repeated_frames": "training.audit.rules.pictures:repeated_frames",
        "late_camera": "training.audit.rules.camera_motion:late_camera",
        "swapped_cameras": "training.audit.rules.camera_motion:swapped_cameras",
    },
)
"""Rules whose findings people judge."""


def refusals(episode: BagEpisode) -> list[Finding]:
    """Return why an episode must not be converted; empty for a sound one."""
    said = (found for rule in refusing_rules().values() for found in rule(episode))
    return [found for found in said if isinstance(found, Finding)]


@functools.cache
def refusing_rules() -> dict[str, Rule]:
    """Rules of `REFUSALS` by name; looked up once, for that takes long."""
    return REFUSALS.load_working(REFUSALS.load)


@functools.cache
def flagging_rules() -> dict[str, Rule]:
    """Rules of `FLAGS` by name."""
    return FLAGS.load_working(FLAGS.load)
