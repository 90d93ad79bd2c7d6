"""`ate token-report`: what action tokens keep at how many bits, beside classical coders."""

import dataclasses
import json
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from ate_core.contract import parse_cell_text
from ate_core.errors import ContractError, UsageError
from ate_policy.token_folder import StoredTokens, load_tokens
from ate_policy.transforms import Normalise
from training.clap.chunks import BodyMotion, TokenData, load_bodies, make_token_data
from training.clap.compare import RateRow, SplitChunks, rival_rows, split_chunks
from training.clap.measures import TokenMeasures, measure, reconstruct
from training.clap.page import token_page
from training.clap.storage import run_of
from training.configs.output_folder import make_folder
from training.configs.token_report import TokenReportConfig
from training.configs.train_tokens import Split
from training.reporting.terminal import terminal
from training.vae.measures import dimension_errors, tool_errors

TOOL_CHUNKS = 100
"""Chunks whose joints are turned into tool positions; kinematics takes a while."""


@torch.inference_mode()
def token_report(config: TokenReportConfig) -> int:
    """Write the page and its numbers."""
    torch.set_num_threads(config.threads)
    make_folder(config.output.parent)
    if config.output.is_dir():
        raise UsageError(f"output {config.output} is a folder: name an HTML file in it")
    stored = {str(folder): load_tokens(folder) for folder in config.tokens}
    first = next(iter(stored.values()))
    for name, one in stored.items():
        _require_comparable(first, one, name)
    motion = run_of(first)
    if config.episodes or config.recordings:
        motion = dataclasses.replace(
            motion, episodes=config.episodes, recordings=config.recordings, motions=0
        )
    bodies = load_bodies(motion)
    numbers = _numbers(config, stored, bodies, first)
    config.output.write_text(token_page(numbers))
    config.output.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n")
    terminal().print(f"report: {config.output}")
    return 0


def _require_comparable(first: StoredTokens, one: StoredTokens, name: str) -> None:
    for what in ("space", "horizon", "tick_rate", "layout"):
        ours, theirs = getattr(first.identity, what), getattr(one.identity, what)
        if ours != theirs:
            raise UsageError(
                f"{name} has {what} {theirs}, the first tokens {ours}: compare tokens of one kind"
            )


def _numbers(
    config: TokenReportConfig,
    stored: dict[str, StoredTokens],
    bodies: list[BodyMotion],
    first: StoredTokens,
) -> dict[str, Any]:
    """Everything that is measured, as JSON values."""
    rows: list[RateRow] = []
    about: dict[str, Any] = {}
    runs: list[dict[str, Any]] = []
    for split in get_args(Split):
        data = make_token_data(bodies, first.model.config.space, first.identity.horizon, split)
        chunks = split_chunks(data, split)
        about[split] = _about(data, chunks)
        for name, one in stored.items():
            if run_of(one).split == split:
                runs.append(_run(name, one, data))
        if config.rivals:
            rows += rival_rows(chunks, config.bits, config.seed)
    return {
        "space": first.identity.space,
        "horizon": first.identity.horizon,
        "numbers": first.identity.horizon * first.model.config.action_size,
        "sources": [one.source.name for one in bodies],
        "splits": about,
        "runs": runs,
        "rivals": [row.as_dict() for row in rows],
    }


def _about(data: TokenData, chunks: SplitChunks) -> dict[str, Any]:
    train, held = chunks.outside
    return {
        "episodes": data.about["episode_count"],
        "held_out_episodes": data.about["held_out_episodes"],
        "same_take": data.about["same_take"],
        "train_chunks": len(chunks.train),
        "held_out_chunks": len(chunks.held_out),
        "outside_train": train,
        "outside_held_out": held,
        "still": float(data.still.float().mean()),
    }


def _run(name: str, stored: StoredTokens, data: TokenData) -> dict[str, Any]:
    """One run on the data of its split, normalised as it learned them."""
    data = dataclasses.replace(data, statistics=stored.checkpoint.statistics)
    chunks = data.normalised()
    found: dict[str, TokenMeasures] = {
        part: measure(stored.model, chunks[mask].flatten(0, 1))
        for part, mask in (("train", ~data.held_out), ("held_out", data.held_out))
    }
    training = stored.checkpoint.training
    return {
        "name": name,
        "split": training["split"],
        "codes": stored.model.config.codes,
        "codebook": stored.model.config.codebook,
        "sha256": stored.identity.sha256,
        "seed": training.get("seed"),
        "steps": f"{training.get('step')} of {training.get('steps')}",
        "deviations": training.get("deviations", {}),
        **{part: one.as_dict() for part, one in found.items()},
        **_errors(stored, data),
    }


def _errors(stored: StoredTokens, data: TokenData) -> dict[str, Any]:
    """Errors on held-out episodes: of each number in its unit, and of the tools in mm."""
    held = data.held_out
    true = data.normalised()[held]
    made = reconstruct(stored.model, true.flatten(0, 1))[0].unflatten(0, true.shape[:2])
    units = [_in_units(stored, chunks) for chunks in (made, true)]  # (N, A, H, D)
    flat = [chunks.transpose(1, 2).flatten(2).numpy() for chunks in units]
    return {
        "dimensions": dimension_errors(flat[0], flat[1], data.layout),
        "tool_mm": _tool_errors(stored, data, units[0], units[1]),
    }


def _in_units(stored: StoredTokens, chunks: Tensor) -> Tensor:
    """(N, A, H, D) model units -> m, rad, ratio."""
    flat = chunks.transpose(1, 2).flatten(2)
    units = Normalise(stored.checkpoint.statistics.action).invert(flat)
    arms: Tensor = units.unflatten(2, (chunks.shape[1], -1)).transpose(1, 2)
    return arms


def _tool_errors(
    stored: StoredTokens, data: TokenData, made: Tensor, true: Tensor
) -> dict[str, dict[str, float]] | str:
    """Distance of the tools by arm [mm], or why there is none."""
    cell = parse_cell_text(stored.checkpoint.contract)
    if stored.identity.space == "tool":
        distance = 1000.0 * (made - true)[..., :3].norm(dim=-1).numpy()  # (N, A, H)
        return {side: _spread(distance[:, index]) for index, side in enumerate(cell.arms)}
    if not data.described:
        return "nothing describes the body that moved"
    some = slice(None, None, max(1, len(made) // TOOL_CHUNKS))
    start = data.starts[data.held_out][some][:, :, None]
    layout = cell.layout.action
    postures = []
    for chunks in (made, true):
        rows = np.zeros((len(start), made.shape[2], layout.size), np.float32)
        for index, side in enumerate(cell.arms):
            arm = layout.slice(f"{side}_arm")
            values = (chunks[some] + start)[:, index]
            rows[..., arm] = values[..., : arm.stop - arm.start].numpy()
        postures.append(rows)
    try:
        return tool_errors(postures[0], postures[1], cell)
    except ContractError as error:  # the arms' model may lie on another machine
        return str(error)


def _spread(distance: np.ndarray) -> dict[str, float]:
    return {
        "mean": float(distance.mean()),
        "p95": float(np.quantile(distance, 0.95)),
        "largest": float(distance.max()),
    }
