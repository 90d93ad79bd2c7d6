"""The card of a data set: ``README.md`` for people, ``card.json`` for machines."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ate_core.episode_outcome import SUCCESS
from training.audit.stored import Reports, StoredAudit, read_reports
from training.data.episode_file import read_outcome_of, read_own_outcome
from training.data.summaries import Summary, summaries_of
from training.episodes.spread import joined

FORMAT = 1
"""Version of ``card.json``."""
UNKNOWN = "unknown"
"""License where none was given."""
SHOWN = ("mean", "std", "min", "q01", "q50", "q99", "max")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One episode of a set."""

    name: str
    """Of its file."""
    outcome: str
    """Its label."""
    summary: Summary
    """What is kept of it."""
    audit: StoredAudit | None
    """What rules said of it, where they did."""


def list_set(folder: Path) -> list[Listed]:
    """Return the episodes of a folder of converted ones, without reading what is known already.

    Raises:
        EpisodeError: there is none, or one is damaged.
    """
    reports = read_reports(folder)
    return [
        Listed(
            name=path.name,
            outcome=read_outcome_of(path),
            summary=summary,
            audit=audit_of(summary, reports, path),
        )
        for path, summary in summaries_of(folder).items()
    ]


def audit_of(summary: Summary, reports: Reports, path: Path) -> StoredAudit | None:
    """What rules said of an episode as it is labelled now."""
    return reports.of(
        summary.sha256,
        summary.facts["audit"],
        path.name,
        outcome=read_outcome_of(path),
        own=read_own_outcome(path),
    )


def describe(episodes: Sequence[Listed], name: str, license_: str = "") -> dict[str, Any]:
    """Return everything the card says, as plain values; equal sets give equal cards.

    Args:
        episodes: Of the set, in order of their names.
        name: Of the set.
        license_: Under which it is given away; empty: unknown.
    """
    facts = [one.summary.facts for one in episodes]
    good = [one.summary for one in episodes if one.outcome == SUCCESS]
    return {
        "format": FORMAT,
        "name": name,
        "license": license_ or UNKNOWN,
        "sha256": set_sha256(episodes),
        "episodes": len(episodes),
        "hours": _hours(facts),
        "ticks": sum(one["ticks"] for one in facts),
        "tick_rates": sorted({one["tick_rate"] for one in facts}),
        "outcomes": dict(Counter(one.outcome for one in episodes)),
        "tasks": _parts(facts, lambda one: one["task"]),
        "instructions": _parts(facts, lambda one: one["instruction"]),
        "operators": _parts(facts, lambda one: one["operator"]),
        "contracts": _contracts(facts),
        "cameras": _cameras(facts),
        "audit": _audit(episodes),
        "statistics": _statistics(good),
        "files": [_file(one) for one in episodes],
    }


def set_sha256(episodes: Sequence[Listed]) -> str:
    """Return the hash of a set: of the bytes and labels of its episodes, whatever their names."""
    lines = sorted(f"{one.summary.file_sha256} {one.outcome}" for one in episodes)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def card_text(card: Mapping[str, Any]) -> str:
    """Return the card for people; its head is YAML, as hubs of data sets read it."""
    audit = card["audit"]
    judged = f"{audit['audited']} of {card['episodes']} episodes"
    if audit["audited"]:
        judged += f", mean score {audit['mean_score']:.0f}, lowest {audit['lowest_score']:.0f}"
    head = {
        "license": card["license"],
        "pretty_name": card["name"],
        "task_categories": ["robotics"],
        "tags": ["robotics", "imitation-learning", "bimanual"],
    }
    blocks = [
        "---\n"
        + "\n".join(f"{key}: {json.dumps(value)}" for key, value in head.items())
        + "\n---",
        f"# {card['name']}",
        f"{card['episodes']} episodes, {card['hours']:.3f} hours, {card['ticks']} ticks at "
        f"{' and '.join(f'{rate:g}' for rate in card['tick_rates'])} Hz. Hash of the set: "
        f"`{card['sha256']}`. License: {card['license']}.",
        _rows("outcome", ("episodes",), {k: {"episodes": v} for k, v in card["outcomes"].items()}),
        *(
            _rows(what, ("episodes", "hours"), card[f"{what}s"])
            for what in ("task", "instruction", "operator")
        ),
        _rows("contract", ("cell", "body", "layout", "episodes"), card["contracts"]),
        _rows("camera", ("episodes", "pictures", "width", "height"), card["cameras"]),
        f"Audited: {judged}.",
        _rows(
            "finding", ("episodes",), {k: {"episodes": v} for k, v in audit["findings"].items()}
        ),
        "Values of the successful episodes, from the first motion on:",
        _rows("column", ("unit", *SHOWN), card["statistics"]),
        "`card.json` holds all of this and every episode with its hash. Read it with "
        "`training.data.episode_file.read_episode`.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _rows(first: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table; empty without rows."""
    if not rows:
        return ""
    lines = [f"| {first} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name, values in rows.items():
        cells = [_cell(values[column]) for column in columns]
        lines.append(f"| {_cell(name) or '(none)'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(str(value).split()).replace("|", "\\|")


def _hours(facts: Sequence[Mapping[str, Any]]) -> float:
    return float(sum(one["seconds"] for one in facts)) / 3600.0


def _parts(
    facts: Sequence[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], str]
) -> dict[str, dict[str, float]]:
    """Episodes and hours by a text."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in facts:
        found.setdefault(key(one), []).append(one)
    return {
        text: {"episodes": len(ones), "hours": _hours(ones)}
        for text, ones in sorted(found.items())
    }


def _contracts(facts: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for one in facts:
        entry = found.setdefault(
            one["contract_sha256"],
            {
                "cell": one["cell"],
                "body": "simulated" if one["sim"] else "real",
                "layout": one["layout_sha256"],
                "episodes": 0,
            },
        )
        entry["episodes"] += 1
    return found


def _cameras(facts: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for one in facts:
        for key, camera in one["cameras"].items():
            entry = found.setdefault(key, {"episodes": 0, "pictures": 0, "width": 0, "height": 0})
            entry["episodes"] += 1
            entry["pictures"] += camera["pictures"]
            entry |= {side: camera[side] for side in ("width", "height")}
    return dict(sorted(found.items()))


def _audit(episodes: Sequence[Listed]) -> dict[str, Any]:
    audits = [one.audit for one in episodes if one.audit is not None]
    scores = [audit.score for audit in audits]
    said = Counter(
        rule
        for audit in audits
        for rule, verdict in audit.verdicts.items()
        if verdict in ("flag", "refuse")
    )
    return {
        "audited": len(audits),
        "mean_score": sum(scores) / len(scores) if scores else None,
        "lowest_score": min(scores, default=None),
        "rules": sorted({audit.rules for audit in audits}),
        "findings": dict(sorted(said.items())),
    }


def _statistics(good: Sequence[Summary]) -> dict[str, dict[str, Any]]:
    names = dict.fromkeys(name for one in good for name in one.columns)
    return {
        name: joined([one.columns[name] for one in good if name in one.columns]) for name in names
    }


def _file(one: Listed) -> dict[str, Any]:
    facts = one.summary.facts
    kept = ("task", "instruction", "operator", "seconds", "start_ns", "source", "source_sha256")
    return {
        "name": one.name,
        "sha256": one.summary.file_sha256,
        "outcome": one.outcome,
        "score": None if one.audit is None else one.audit.score,
        **{name: facts[name] for name in kept},
    }
