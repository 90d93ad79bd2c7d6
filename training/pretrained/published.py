"""What lerobot's or openpi's config.json tells of weights, against the network and the cell here.

A number that the network's configuration has is taken over; what it cannot be told is refused.
What would only be wrong until the weights learned on this cell is kept as a reason to fine-tune
them first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ate_core.contract import Cell
from ate_core.errors import CheckpointError, UsageError
from ate_core.layout import VectorLayout
from ate_core.trained_for import SAME_ASPECT
from ate_policy.models.foreign_files import require_file
from ate_policy.models.pi0_config import Pi0Config
from ate_policy.models.pi0_inputs import (
    MAX_PROMPT,
    MAX_STATE_PROMPT,
    camera_order,
    camera_slot,
)
from training.configs.import_pi0 import ImportPi0Config
from training.pretrained.told import Told, read_told

SETTINGS = "config.json"
"""Where they tell what the network is."""
STEPS = "policy_preprocessor.json"
"""Where lerobot tells what happens in front of it."""

OPENPI = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
"""openpi's cameras, by their place among those of pi0."""
IMAGES, EMPTY = "observation.images.", "empty_camera_"
"""How lerobot's names of images begin, and of those that are never there."""
STATE, ACTION = "observation.state", "action"
"""lerobot's names of the vectors."""
ABSOLUTE = ("gripper",)
"""What stays absolute in lerobot where a folder does not tell."""

FIXED: tuple[tuple[str, float | bool], ...] = (
    ("n_obs_steps", 1),
    ("min_period", 4e-3),
    ("max_period", 4.0),
    ("adapt_to_pi_aloha", False),
    ("use_delta_joint_actions_aloha", False),
)
"""Settings of theirs that have one value here."""


@dataclass(kw_only=True)
class Published:
    """What the weights were published with, as far as somebody tells."""

    cameras: tuple[str, ...]
    """The cell's key of each image, in the order in which they were seen."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Of the network's configuration, that they decide."""
    differs: list[str] = field(default_factory=list)
    """Why they must be fine-tuned before they drive."""
    remarks: list[str] = field(default_factory=list)
    """What a person should know besides."""


def settings_of(source: Path) -> Told | None:
    """What the config.json of a folder tells; None: there is none."""
    file = source / SETTINGS
    if not file.exists() and not file.is_symlink():
        return None
    require_file(file, "copy it again")
    return read_told(file, "copy it again")


def read_published(config: ImportPi0Config, cell: Cell, kind: str, sizes: Pi0Config) -> Published:
    """What the weights of a folder were published with.

    Args:
        config: Of the import; what it says wins, and is told.
        cell: That the policy is for.
        kind: pi0 or pi05, by the names of the weights.
        sizes: Of the network that they shall become.

    Raises:
        CheckpointError: the network here would compute something else.
        UsageError: nobody says which camera is which.
    """
    unknown = [key for key in config.cameras if key not in cell.layout.cameras]
    if unknown:
        raise UsageError(
            f"cameras names {', '.join(unknown)}, the cell has {', '.join(cell.layout.cameras)}: "
            "give keys of these"
        )
    told = settings_of(config.source)
    if told is None:
        return Published(cameras=config.cameras or cell.layout.cameras)
    _require_network(told, kind, sizes)
    found = _cameras(told, config, cell, sizes)
    _take_chunks(told, config, found)
    longest = MAX_STATE_PROMPT if sizes.adaptive else MAX_PROMPT
    if (told.count("tokenizer_max_length") or 0) > longest:
        found.remarks.append(
            f"it read instructions of {told.count('tokenizer_max_length')} tokens, here they are "
            f"cut after {longest}"
        )
    unlike = _unlike_vectors(told, cell, sizes)
    if unlike and config.statistics is not None:
        raise CheckpointError(
            f"{told.file}: {unlike[0]}, so that {config.statistics} cannot be what these weights "
            "learned with: leave out --statistics and fine-tune, or give the --cell that they "
            "were trained for"
        )
    found.differs += unlike
    return found


def require_same_differences(source: Path, layout: VectorLayout) -> None:
    """Refuse weights that learned other columns as differences than this cell has: its joints.

    Args:
        source: Their folder.
        layout: Of the cell's action.
    """
    told = settings_of(source)
    if told is None or not told.flag("use_relative_actions"):
        return
    given = told.texts("relative_exclude_joints")
    excluded = [word.lower() for word in (ABSOLUTE if given is None else given) if word]
    remedy = "here joints are and grippers are not: train it so in lerobot, or start from others"
    if not excluded:
        raise CheckpointError(
            f"{told.file} learned differences of grippers too (relative_exclude_joints is empty), "
            f"{remedy}"
        )
    names = told.texts("action_feature_names") or _names_of_steps(source)
    if not names:
        raise CheckpointError(
            f"{told.file} does not tell which columns stayed absolute (relative_exclude_joints "
            f"{', '.join(excluded)}): write the names of its actions, in their order, as "
            "action_feature_names into it"
        )
    if len(names) == layout.size:
        joints = set(layout.columns("rad"))
    else:  # another robot
        joints = {index for index, name in enumerate(names) if "gripper" not in name.lower()}
    for index, name in enumerate(names):
        is_difference = not any(word in name.lower() for word in excluded)
        if is_difference != (index in joints):
            learned = "differences" if is_difference else "absolute targets"
            raise CheckpointError(
                f"{told.file} learned {learned} of {name} (relative_exclude_joints "
                f"{', '.join(excluded)}), {remedy}"
            )


def _names_of_steps(source: Path) -> tuple[str, ...]:
    """Names of the actions, from the step that makes differences; (): nobody says."""
    file = source / STEPS
    if not file.is_file():
        return ()
    told = read_told(file, "copy it again")
    steps = told.entries.get("steps")
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, dict) and step.get("registry_name") == "relative_actions_processor":
            part = replace(told, entries=step, place="steps.").part("config")
            return (part and part.texts("action_names")) or ()
    return ()


def _require_network(told: Told, kind: str, sizes: Pi0Config) -> None:
    """Refuse another network than the one that is built here."""
    named = told.text("type")
    if named not in (None, kind):
        raise CheckpointError(
            f"{told.file} is of a {named}, the weights beside it are of a {kind}: copy both from "
            "one place"
        )
    for name, value in FIXED:
        own = told.flag(name) if isinstance(value, bool) else told.number(name)
        if own not in (None, value):
            raise told.wrong(name, own, f"{value}, as the network computes here")
    for size, names in (
        (sizes.max_state_size, ("max_state_dim",)),
        (sizes.max_action_size, ("max_action_dim", "action_dim")),
    ):
        for name in names:
            if told.count(name) not in (None, size):
                raise told.wrong(name, told.count(name), f"{size}: give weights of that width")
    edge = [sizes.image_height, sizes.image_width]
    for name in ("image_resolution", "resize_imgs_with_padding"):
        own_edge = told.counts(name, 2)
        if own_edge is not None and list(own_edge) != edge:
            bound = f"{edge}, as this preset reads: give another --preset, or weights of that size"
            raise told.wrong(name, list(own_edge), bound)
    norms = told.part("normalization_mapping")
    visual = norms and norms.text("VISUAL")
    if norms and visual not in (None, "IDENTITY"):
        bound = "IDENTITY, as images enter here from -1 to 1: give weights that learned so"
        raise norms.wrong("VISUAL", visual, bound)


def _take_chunks(told: Told, config: ImportPi0Config, found: Published) -> None:
    """Take over the length of chunks, and the steps in which they are made."""
    chunk = told.count("chunk_size") or told.count("action_horizon")
    if chunk is not None:
        found.fields["horizon"] = config.horizon or chunk
    if chunk is not None and config.horizon not in (None, chunk):
        found.remarks.append(f"chunks of {config.horizon} actions, it learned {chunk}")
    executed = told.count("n_action_steps")
    if executed is not None and executed != chunk:
        found.remarks.append(
            f"lerobot executes {executed} actions of a chunk: start it with execute:={executed}"
        )
    steps = told.count("num_inference_steps") or told.count("num_steps")
    if steps is not None:
        found.fields["steps"] = steps


def _unlike_vectors(told: Told, cell: Cell, sizes: Pi0Config) -> list[str]:
    """How its state and action are not those of the cell."""
    found = []
    for group, name, layout, padded in (
        ("input_features", STATE, cell.layout.state, sizes.max_state_size),
        ("output_features", ACTION, cell.layout.action, sizes.max_action_size),
    ):
        features = told.part(group)
        feature = features and features.part(name)
        shape = feature and feature.counts("shape", 1)
        if shape and shape[0] not in (layout.size, padded):
            found.append(f"its {name} has {shape[0]} numbers, the cell's {layout.size}")
    names, own = told.texts("action_feature_names") or (), cell.layout.action.names
    if names != own and sorted(names) == sorted(own):
        found.append(f"its actions are {', '.join(names)}, the cell's {', '.join(own)}")
    return found


def _cameras(told: Told, config: ImportPi0Config, cell: Cell, sizes: Pi0Config) -> Published:
    """The cell's camera for each of theirs, in their order."""
    features = told.part("input_features")
    pictures = {
        name.removeprefix(IMAGES).removeprefix("observation."): one.counts("shape", 3)
        for name, one in (features.parts() if features else {}).items()
        if one.text("type") == "VISUAL"
    }
    pictures = {name: shape for name, shape in pictures.items() if not name.startswith(EMPTY)}
    if not pictures:
        return Published(cameras=config.cameras or cell.layout.cameras)
    theirs, known = ", ".join(pictures), ", ".join(cell.layout.cameras)
    alike = [_alike(name, cell.layout.cameras) for name in pictures]
    cameras = config.cameras or tuple(key for key in alike if key is not None)
    if not config.cameras and (len(set(cameras)) < len(pictures)):
        raise UsageError(
            f"the policy sees {theirs}: give --cameras, that of the cell for each of them in "
            f"this order, out of {known}"
        )
    if len(cameras) > len(pictures) or len(set(cameras)) < len(cameras):
        raise UsageError(
            f"cameras are {', '.join(cameras)}, the policy sees {len(pictures)} ({theirs}): give "
            "one of the cell for each of them, once, in this order"
        )
    found = Published(cameras=cameras)
    if config.cameras and list(cameras) != alike:
        found.remarks.append(f"cameras {', '.join(cameras)}, it learned from {theirs}")
    seen = tuple(cameras[index] for index in camera_order(cameras))
    if len(cameras) < len(pictures):
        found.differs.append(
            f"it learned from {len(pictures)} cameras ({theirs}), here it sees "
            f"{', '.join(cameras)}"
        )
    elif seen != cameras:
        found.differs.append(
            f"it saw its cameras in the order {', '.join(cameras)}, here {', '.join(seen)}"
        )
    if len(cameras) == len(pictures):
        shapes = dict(zip(cameras, pictures.values(), strict=True))
        found.remarks += _odd_pictures(shapes, (sizes.image_height, sizes.image_width), cell)
    return found


def _alike(name: str, cameras: Sequence[str]) -> str | None:
    """The cell's camera that one of theirs is; None: nobody can say."""
    if name in cameras:
        return name
    if name not in OPENPI:
        return None
    there = [key for key in cameras if camera_slot(key) == OPENPI.index(name)]
    return there[0] if len(there) == 1 else None


def _odd_pictures(
    shapes: dict[str, tuple[int, ...] | None], padded: tuple[int, int], cell: Cell
) -> list[str]:
    """Cameras whose pictures had another aspect; those that are listed as padded tell none."""
    found = []
    for camera in cell.cameras.values():
        shape = shapes.get(camera.key)
        if shape is None or shape[1:] == padded:
            continue
        height, width = shape[1:]
        if abs(width * camera.height / (height * camera.width) - 1.0) > SAME_ASPECT:
            found.append(
                f"{camera.key} had pictures of {width}x{height}, the cell's are "
                f"{camera.width}x{camera.height}: another aspect shows things in another shape"
            )
    return found
