"""`ate import-dp`: weights of the published Diffusion Policy -> a checkpoint for a cell."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ate_core.contract import Cell, load_cell
from ate_core.errors import CheckpointError, UsageError
from ate_policy.models.diffusion_policy import PRESETS, DiffusionPolicyConfig
from ate_policy.models.diffusion_weights import Observed, features_of, import_weights
from ate_policy.models.foreign_weights import read_folder, require_kind
from ate_policy.transforms import Statistics, VectorStatistics
from training.configs.import_dp import ImportDpConfig
from training.pretrained.imported import Learned, make_parent, save_imported
from training.pretrained.told import Told, read_told

POLICY = "DiffusionUnetHybridImagePolicy"
"""The published policy whose network is ours."""

SCHEDULE = "squaredcos_cap_v2"
PREDICTIONS = {"epsilon": "epsilon", "sample": "sample", "v_prediction": "v"}
COUNTS = ("horizon", "n_obs_steps", "kernel_size", "diffusion_step_embed_dim")
"""Whole numbers of their configuration that are read."""

STEPS = 16
"""DDIM steps from noise to chunk, as on the published real robot."""

CONVERT = (
    'python -c "import torch, dill, json, safetensors.torch as s; from omegaconf import OmegaConf '
    "as O; O.register_new_resolver('eval', eval, replace=True); p = torch.load('latest.ckpt', "
    "pickle_module=dill, map_location='cpu', weights_only=False); d = p['state_dicts']; "
    "s.save_file({k: v.clone().contiguous() for k, v in d.get('ema_model', d['model']).items()}, "
    "'model.safetensors'); json.dump(O.to_container(p['cfg'].policy, resolve=True), "
    "open('policy.json', 'w'))\""
)
"""How a .ckpt, a pickle that runs what it holds, becomes numbers and their description."""

SOURCES = (
    "a .ckpt of real-stanford/diffusion_policy is a pickle that runs code and is not read here: "
    f"convert one that you trust once, beside it and in that project's environment, with {CONVERT}"
)


def import_dp(config: ImportDpConfig) -> int:
    """Write a checkpoint from converted weights."""
    make_parent(config.output)
    cell = load_cell(config.cell)
    theirs = read_folder(config.source, SOURCES)
    require_kind(theirs, "Diffusion Policy", SOURCES)
    policy = _read_policy(config.source / "policy.json")
    observed = _observed(policy, config, cell)
    made = dp_config(policy, config, cell)
    weights = import_weights(theirs, made, observed)
    states = [name for name in observed.sizes if name not in observed.cameras]
    save_imported(
        config.output,
        "diffusion",
        made,
        weights,
        source=config.source,
        learned=Learned(
            statistics=statistics_of(theirs, states), differs=_differs(policy, observed)
        ),
        cell=cell,
        preset="full",
        card=_card(config, made, observed),
    )
    return 0


def dp_config(
    policy: Mapping[str, Any], config: ImportDpConfig, cell: Cell
) -> DiffusionPolicyConfig:
    """Our configuration of their policy."""
    scheduler, meta = policy["noise_scheduler"], policy["shape_meta"]
    images = [one["shape"] for one in meta["obs"].values() if one.get("type") == "rgb"]
    height, width = policy.get("crop_shape") or images[0][1:]
    return DiffusionPolicyConfig(
        **{
            **PRESETS["full"].sizes,
            "horizon": policy["horizon"],
            "action_size": cell.layout.action.size,
            "state_size": cell.layout.state.size,
            "cameras": _our_cameras(meta, config, cell),
            "image_height": height,
            "image_width": width,
            "channels": policy["down_dims"],
            "kernel": policy["kernel_size"],
            "rectified": True,
            "step_size": policy["diffusion_step_embed_dim"],
            "prediction": PREDICTIONS[scheduler["prediction_type"]],
            "train_steps": scheduler["num_train_timesteps"],
            "steps": min(STEPS, policy.get("num_inference_steps") or STEPS),
        }
    )


def statistics_of(theirs: Mapping[str, Tensor], states: Sequence[str]) -> Statistics:
    """Their z = scale x + offset as mean and deviation; ends of the data as quantiles."""
    vectors = [_vector(theirs, name) for name in states]
    joined = {
        key: tuple(number for vector in vectors for number in getattr(vector, key))
        for key in ("mean", "std", "q01", "q99")
    }
    return Statistics(state=VectorStatistics(**joined), action=_vector(theirs, "action"))


def _vector(theirs: Mapping[str, Tensor], name: str) -> VectorStatistics:
    try:
        start = f"normalizer.params_dict.{name}."
        scale, offset = (theirs[f"{start}{key}"].double().numpy() for key in ("scale", "offset"))
        low, high = (
            theirs[f"{start}input_stats.{key}"].double().numpy() for key in ("min", "max")
        )
    except KeyError as error:
        raise CheckpointError(f"the weights lack {error}: convert the file again") from None
    if not (scale > 0).all():
        raise CheckpointError(f"the scale of {name} is not positive: convert the file again")
    keys = {"mean": -offset / scale, "std": 1.0 / scale, "q01": low, "q99": high}
    return VectorStatistics(**{k: tuple(np.ravel(v).tolist()) for k, v in keys.items()})


def _read_policy(file: Path) -> Mapping[str, Any]:
    """Their configuration; a policy whose network is not ours is refused by name."""
    policy = read_told(file, SOURCES)
    scheduler = policy.part("noise_scheduler")
    meta = policy.part("shape_meta")
    action = meta and meta.part("action")
    if scheduler is None or meta is None or action is None:
        raise CheckpointError(
            f"{file} does not describe a policy (it lacks noise_scheduler, or shape_meta with its "
            f"action): {SOURCES}"
        )
    told: dict[str, object] = {
        "policy": (policy.text("_target_") or "").rsplit(".", 1)[-1],
        "beta_schedule": scheduler.text("beta_schedule"),
        "obs_as_global_cond": policy.flag("obs_as_global_cond"),
        "obs_encoder_group_norm": policy.flag("obs_encoder_group_norm"),
    }
    wanted = {
        "policy": POLICY,
        "beta_schedule": SCHEDULE,
        "obs_as_global_cond": True,
        "obs_encoder_group_norm": True,
    }
    for name, value in wanted.items():
        if told[name] != value:
            raise CheckpointError(
                f"{file}: {name} is {told[name]}, only {value} is a network of policy:diffusion: "
                "train that one, or start from random weights"
            )
    _require_sizes(policy, scheduler, meta, action)
    return policy.entries


def _require_sizes(policy: Told, scheduler: Told, meta: Told, action: Told) -> None:
    """Refuse a number that is missing, or none."""
    kind = scheduler.text("prediction_type")
    if kind not in PREDICTIONS:
        raise scheduler.wrong("prediction_type", kind, f"one of {', '.join(PREDICTIONS)}")
    for one, name in (
        *((policy, name) for name in COUNTS),
        (scheduler, "num_train_timesteps"),
    ):
        if one.count(name) is None:
            raise one.wrong(name, None, "a whole number above 0")
    policy.count("num_inference_steps")
    policy.counts("crop_shape", 2)
    if policy.counts("down_dims") is None:
        raise policy.wrong("down_dims", None, "a list of whole numbers above 0")
    observed = meta.part("obs")
    for name, one in {} if observed is None else observed.parts().items():
        is_image = one.text("type") == "rgb"
        if one.counts("shape", 3 if is_image else None) is None:
            raise one.wrong("shape", None, f"that of {name}")
    if observed is None or action.counts("shape") is None:
        raise meta.wrong("obs, action.shape", None, "what it reads and gives")


def _our_cameras(meta: Mapping[str, Any], config: ImportDpConfig, cell: Cell) -> tuple[str, ...]:
    """The cell's camera for each of theirs, in their order."""
    theirs = [name for name, one in meta["obs"].items() if one.get("type") == "rgb"]
    cameras = config.cameras or tuple(theirs)
    unknown = [key for key in cameras if key not in cell.layout.cameras]
    if len(cameras) != len(theirs) or unknown or not theirs:
        raise UsageError(
            f"the policy sees {', '.join(theirs) or 'no cameras'}: give --cameras, that of the "
            f"cell for each of them in this order, out of {', '.join(cell.layout.cameras)}"
        )
    return cameras


def _observed(policy: Mapping[str, Any], config: ImportDpConfig, cell: Cell) -> Observed:
    """Their condition; state and action must be as long as the cell's."""
    meta = policy["shape_meta"]
    sizes = {
        name: features_of(one.get("type", "low_dim"), one["shape"])
        for name, one in meta["obs"].items()
    }
    cameras = tuple(name for name, one in meta["obs"].items() if one.get("type") == "rgb")
    state = sum(size for name, size in sizes.items() if name not in cameras)
    layout = cell.layout
    for what, size, own in (
        ("action", int(np.prod(meta["action"]["shape"])), layout.action.size),
        ("state", state, layout.state.size),
    ):
        if size != own:
            raise CheckpointError(
                f"the policy has a {what} of {size} numbers, the cell {own}: give the --cell that "
                "it was trained for"
            )
    return Observed(sizes=sizes, cameras=cameras, ticks=int(policy["n_obs_steps"]))


def _differs(policy: Mapping[str, Any], observed: Observed) -> tuple[str, ...]:
    """What theirs sees and does in another way than ours."""
    found = []
    if observed.ticks > 1:
        found.append(f"its chunks begin {observed.ticks - 1} ticks before the present")
    if policy.get("crop_shape"):
        found.append("its images were cropped, here they are resized")
    return tuple(found)


def _card(config: ImportDpConfig, made: DiffusionPolicyConfig, observed: Observed) -> str:
    pairs = zip(observed.cameras, made.cameras, strict=True)
    return f"""# Diffusion Policy, imported

| | |
|---|---|
| weights | {config.source} |
| cameras | {", ".join(f"{theirs} as {ours}" for theirs, ours in pairs)} |
| observations | the present one stands for all {observed.ticks} |
| chunk | theirs begins {observed.ticks - 1} ticks before the present: fine-tune before running |
| statistics | limits of their data: the range becomes [-1, 1] |
| images | theirs are cropped, ours are resized to {made.image_width} x {made.image_height} px |
| licence | MIT (real-stanford/diffusion_policy) for the code; weights are their trainer's |
"""
