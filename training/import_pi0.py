"""`ate import-pi0`, `ate export-pi0`: weights of lerobot or openpi -> a checkpoint, and back.

pi0.5 is told from pi0 by the names of its weights, and becomes a checkpoint of its own kind.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell, load_cell
from ate_core.errors import CheckpointError, UsageError
from ate_core.layout import VectorLayout
from ate_policy.checkpoint import describe_checkpoint, load_checkpoint
from ate_policy.chunking import usual_horizon
from ate_policy.models.foreign_weights import kind_of, read_folder, weight_names
from ate_policy.models.pi0_config import Pi0Config, Pi05Config
from ate_policy.models.pi0_entry import PRESETS
from ate_policy.models.pi0_inputs import BYTES, load_tokenizer
from ate_policy.models.pi0_weights import SOURCES, export_weights, import_weights
from ate_policy.transforms import Statistics, VectorStatistics
from training.configs.import_pi0 import ExportPi0Config, ImportPi0Config
from training.data.dataset import ActionSpace
from training.pretrained.imported import NORMAL_Q99, Learned, make_parent, save_imported
from training.pretrained.known import require_known
from training.pretrained.lerobot_folder import write_lerobot_folder
from training.pretrained.published import (
    Published,
    read_published,
    require_same_differences,
    settings_of,
)
from training.pretrained.told import Told, read_told

CONFIGS = {"pi0": Pi0Config, "pi05": Pi05Config}
"""Kind of an imported checkpoint -> its configuration."""

STD_FLOOR = 1e-6
"""openpi divides by std + 1e-6."""

QUANTILES = ("q01", "q99")
PADDED = 32
"""Entries to which openpi pads every vector."""
LEROBOT_NORMS = {"MEAN_STD": False, "QUANTILES": True}
"""How lerobot scales what pi0 and pi0.5 read and write -> whether that is by quantiles."""

LEROBOT_STATISTICS = "policy_preprocessor_step_*.safetensors"
"""Where lerobot keeps the statistics of a policy."""


def import_pi0(config: ImportPi0Config) -> int:
    """Write a checkpoint from the weights of lerobot or openpi."""
    make_parent(config.output)
    cell = load_cell(config.cell)
    kind = "pi05" if kind_of(weight_names(config.source, SOURCES)) == "pi0.5" else "pi0"
    published = read_published(config, cell, kind, CONFIGS[kind](**PRESETS[config.preset].sizes))
    made = pi0_config(config, cell, kind, published)
    if made.reads_text:
        load_tokenizer(made.tokenizer)  # refuse a missing one before gigabytes are read
    learned = replace(
        learned_numbers(config, cell, quantiles=made.by_quantiles),
        differs=tuple(published.differs),
    )
    weights = import_weights(read_folder(config.source, SOURCES), made)
    save_imported(
        config.output,
        kind,
        made,
        weights,
        source=config.source,
        learned=learned,
        cell=cell,
        preset=config.preset,
        card=_card(config, kind, sum(value.numel() for value in weights.values())),
        options="" if learned.actions else "--actions relative ",
    )
    for remark in published.remarks:
        print(f"  ({remark})")
    if learned.actions is None:
        print("  (openpi's published weights learned relative actions; if these learned joint")
        print("  targets, as lerobot's fine-tuning does by default: --actions absolute)")
    unread = sorted(config.source.glob(LEROBOT_STATISTICS))
    if unread and config.statistics is None:
        print(f"  (the statistics in {unread[0]} are not read: give --statistics norm_stats.json)")
    return 0


def learned_numbers(config: ImportPi0Config, cell: Cell, *, quantiles: bool = False) -> Learned:
    """Space and statistics, as far as they are given or the files beside the weights tell.

    Args:
        config: Of the command.
        cell: Its layout.
        quantiles: The kind is usually scaled by quantiles.
    """
    require_same_differences(config.source, cell.layout.action)
    space = _told_space(config)
    if config.statistics is None:
        return Learned(statistics=None, actions=space, by_quantiles=_told_scale(config.source)[1])
    if space is None:
        raise UsageError(
            f"{config.statistics} does not say of which actions it is: give --actions relative "
            "where joints are differences from the present ones, as openpi's published weights "
            "learned, else --actions absolute"
        )
    by_quantiles = _by_quantiles(config.source, quantiles)
    statistics = read_norm_stats(
        config.statistics, cell, relative=space == "relative", quantiles=by_quantiles
    )
    return Learned(statistics=statistics, actions=space, by_quantiles=by_quantiles)


def _by_quantiles(source: Path, usual: bool) -> bool:
    """Whether the numbers that weights learned were scaled by quantiles: as lerobot tells.

    Args:
        source: Folder of the weights.
        usual: Of their kind, where nobody tells.

    Raises:
        CheckpointError: they were scaled in a way that statistics cannot say.
    """
    named, told = _told_scale(source)
    if named and told is None:
        raise CheckpointError(
            f"{source / 'config.json'} scales state and actions by {' and '.join(named)}; need "
            f"one of {', '.join(LEROBOT_NORMS)} for both: leave out --statistics and fine-tune"
        )
    return usual if told is None else told


def _told_scale(source: Path) -> tuple[list[str], bool | None]:
    """How state and actions are scaled as lerobot tells, and whether that is by quantiles.

    Args:
        source: Folder of the weights.

    Returns:
        Names of the ways, and None where nobody tells, or where it is done otherwise.
    """
    told = settings_of(source)
    norms = None if told is None else told.part("normalization_mapping")
    texts = [norms.text(part) for part in ("STATE", "ACTION")] if norms else []
    named = sorted({text for text in texts if text is not None})
    return named, LEROBOT_NORMS.get(named[0]) if len(named) == 1 else None


def _told_space(config: ImportPi0Config) -> ActionSpace | None:
    """Space of the actions, as given and as the files tell; None: nobody says.

    Raises:
        UsageError: two of them say another.
    """
    told: dict[str, ActionSpace] = {} if config.actions is None else {"--actions": config.actions}
    for file, key in (
        (config.source / "config.json", "use_relative_actions"),
        (config.statistics, "relative"),
    ):
        if file is None or (file != config.statistics and not file.is_file()):
            continue
        value = _told_relative(read_told(file, "copy or write it again"), key)
        if value is not None:
            told[f"{key} in {file}"] = "relative" if value else "absolute"
    if len(set(told.values())) > 1:
        says = ", ".join(f"{who} says {space}" for who, space in told.items())
        raise UsageError(f"are the actions absolute or relative? {says}: correct what is wrong")
    return next(iter(told.values()), None)


def _told_relative(told: Told, key: str) -> bool | None:
    """Whether actions are differences: a flag, or which columns are; None: it does not say."""
    value = told.entries.get(key)
    if isinstance(value, list) and all(type(column) is int for column in value):
        return bool(value)
    return told.flag(key)


def export_pi0(config: ExportPi0Config) -> int:
    """Write a checkpoint as a folder that lerobot's loader opens."""
    folder = config.output
    make_parent(folder, replace=False)
    kind = describe_checkpoint(config.checkpoint).kind
    if kind not in CONFIGS:
        raise CheckpointError(
            f"{config.checkpoint} is of kind {kind}, only {' and '.join(CONFIGS)} can be written "
            "for lerobot: give a checkpoint of one of these"
        )
    require_known(config.checkpoint, "lerobot would take made-up ones for them")
    stored = load_checkpoint(config.checkpoint, kind=kind)
    made = CONFIGS[kind](**stored.model)
    if made.objects:
        raise CheckpointError(
            f"{config.checkpoint} reads object poses behind its state, which lerobot's {kind} "
            "does not know: give a policy that was trained with --variant vision"
        )
    weights = export_weights(stored.weights, lerobot=True)
    write_lerobot_folder(folder, weights, made, stored.statistics, stored.cell.layout)
    opener = "PI05Policy" if made.adaptive else "PI0Policy"
    print(f"{folder}: {len(weights)} tensors; open it with {opener}.from_pretrained of lerobot")
    if (made.layers, made.expert_width) != (Pi0Config().layers, Pi0Config().expert_width):
        print("  (lerobot knows the published sizes only, and will refuse this smaller one)")
    if not made.language:
        print("  (it learned without instructions, and lerobot puts one in front of the network:")
        print("  fine-tune it there, or train with --policy.language True before it is exported)")
    return 0


def pi0_config(config: ImportPi0Config, cell: Cell, kind: str, published: Published) -> Pi0Config:
    """The network's configuration for a cell."""
    layout = cell.layout
    given = config.tokenizer
    if given is None and (config.source / "tokenizer.json").is_file():
        given = config.source
    fields = {
        **PRESETS[config.preset].sizes,
        "language": config.language,
        "horizon": config.horizon or usual_horizon(cell.tick_rate),
        "action_size": layout.action.size,
        "state_size": layout.state.size,
        "cameras": published.cameras,
        **published.fields,
    }
    if given is not None:
        fields["tokenizer"] = str(given)
    elif not config.language and kind == "pi0":  # pi0.5 spells its state in any case
        fields["tokenizer"] = BYTES
    return CONFIGS[kind](**fields)


def read_norm_stats(
    file: Path, cell: Cell, *, relative: bool = False, quantiles: bool = False
) -> Statistics:
    """Statistics from openpi's norm_stats.json; entries of its padding to 32 are dropped.

    Args:
        file: With norm_stats.state and norm_stats.actions.
        cell: Its layout decides how many entries are ours.
        relative: The actions' joints are differences from the present ones, grippers are not.
        quantiles: q01 and q99 become -1 and 1, as pi0.5 learned.
    """
    joints = cell.layout.action.columns("rad")
    form = (
        "it must hold norm_stats with state and actions, each with mean and std"
        f"{', q01 and q99' if quantiles else ''}"
    )
    told = read_told(file, form)
    tables = told.part("norm_stats") or Told(file=file, entries={}, remedy=form)
    if nested := [name for name in tables.entries if _is_table_of(tables.entries[name])]:
        raise CheckpointError(
            f"{file}: norm_stats holds those of {', '.join(nested)}, must hold state and actions: "
            "write a file with what stands below the one that these weights learned with"
        )
    state, action = (tables.part(name) for name in ("state", "actions"))
    if state is None or action is None:
        raise CheckpointError(f"{file} is no norm_stats.json of openpi: {form}")
    columns = told.entries.get("relative")
    if isinstance(columns, list) and columns and tuple(columns) != joints:
        raise CheckpointError(
            f"{file} has differences in columns {columns}, the joints of the cell are {joints}: "
            "compute the statistics on data of this cell"
        )
    return Statistics(
        state=_vector(state, cell.layout.state, quantiles),
        action=_vector(action, cell.layout.action, quantiles),
        relative=joints if relative else (),
    )


def _is_table_of(entry: object) -> bool:
    """Whether an entry holds statistics of a robot, among those of others."""
    return isinstance(entry, dict) and {"state", "actions"} <= set(entry)


def _vector(table: Told, layout: VectorLayout, quantiles: bool = False) -> VectorStatistics:
    given = {name: table.numbers(name) for name in ("mean", "std", *QUANTILES)}
    needed = ("mean", "std", *QUANTILES) if quantiles else ("mean", "std")
    if missing := [name for name in needed if given[name] is None]:
        raise CheckpointError(
            f"{table.file} is no norm_stats.json of openpi, {table.place}{missing[0]} is not "
            f"there: {table.remedy}"
        )
    values = {
        name: _own(name, numbers, layout) for name, numbers in given.items() if numbers is not None
    }
    mean, std = values["mean"], values["std"]
    if (std < 0.0).any():
        column = int(np.argmax(std < 0.0))
        raise table.wrong(f"std[{column}]", float(std[column]), "0 or more")
    if quantiles:
        low, high = (values[name] for name in QUANTILES)
        mean, std = (low + high) / 2.0, (high - low) / 2.0
    low = values.get("q01", _within_ratio(mean - NORMAL_Q99 * std, mean, std, layout))
    high = values.get("q99", _within_ratio(mean + NORMAL_Q99 * std, mean, std, layout))
    if (low > high).any():
        column = int(np.argmax(low > high))
        bound = f"no more than q99, {high[column]:g}"
        raise table.wrong(f"q01[{column}]", float(low[column]), bound)
    return VectorStatistics(
        mean=tuple(mean.tolist()),
        std=tuple((std + STD_FLOOR).tolist()),
        q01=tuple(low.tolist()),
        q99=tuple(high.tolist()),
    )


def _within_ratio(
    quantiles: NDArray[np.float64],
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
    layout: VectorLayout,
) -> NDArray[np.float64]:
    """Quantiles as of a normal distribution, but of a ratio, which is open or closed most often.

    Args:
        quantiles: (D,), of normal distributions.
        mean: (D,).
        std: (D,).
        layout: Units of the D entries.
    """
    is_ratio = np.array([unit == "ratio" for unit in layout.units])
    is_ratio &= (mean >= 0.0) & (mean <= 1.0) & (std <= 0.5)  # else it is in other units
    return np.where(is_ratio, np.clip(quantiles, 0.0, 1.0), quantiles)


def _own(name: str, numbers: Sequence[float], layout: VectorLayout) -> NDArray[np.float64]:
    """Entries of a vector of statistics that are the cell's, without openpi's padding.

    Raises:
        CheckpointError: the vector is of another robot.
    """
    given = np.asarray(numbers, dtype=float)
    size = layout.size
    if given.shape in ((size,), (PADDED,)):
        return given[:size]
    raise CheckpointError(
        f"{name} of the statistics has {given.size} entries, the cell's layout {size}, with "
        f"padding {PADDED}: compute them on data of this cell, or leave them out and fine-tune"
    )


def _card(config: ImportPi0Config, kind: str, parameters: int) -> str:
    known = "as given" if config.statistics else "none: fine-tune before running on the cell"
    return f"""# {kind}, imported

| | |
|---|---|
| weights | {config.source}, {parameters / 1e6:.0f} M parameters |
| statistics | {known} |
| licence | Gemma (ai.google.dev/gemma/terms) for the weights and the tokenizer |
"""
