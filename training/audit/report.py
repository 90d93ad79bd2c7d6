"""What the audit says of episodes and of their set, as plain data; the page is drawn from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from training.audit.findings import Finding
from training.data.commanders import Takeovers

Verdict = Literal["pass", "flag", "refuse", "not judged", "cannot tell"]
"""What a rule says of an episode; not judged: the data it needs is not there; cannot tell: it is,
but too little moves in it for the fault to show."""
UNJUDGED: tuple[Verdict, ...] = ("not judged", "cannot tell")
"""Verdicts that say neither good nor bad."""


@dataclass(frozen=True, kw_only=True)
class EpisodeAudit:
    """One episode, judged."""

    name: str
    """Name of its folder or file, without an ending."""
    seconds: float
    """Duration [s]."""
    score: float
    """100 for an episode without findings, down to 0."""
    verdicts: Mapping[str, Verdict]
    """Rule -> what it says."""
    findings: tuple[Finding, ...]
    """What the rules found, in the rules' order."""
    untold: Mapping[str, str] = field(default_factory=dict)
    """Rule that cannot tell, of all streams or of some -> which and why."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """Name with unit -> number, for instance ``idle_fraction``; NaN where it cannot be told."""
    task: str = ""
    """Short name of the task."""
    operator: str = ""
    """Who demonstrated."""
    outcome: str = ""
    """How it ended; empty where nothing could be read."""
    sha256: str = ""
    """`Episode.sha256` of a converted episode; empty for a bag."""
    motion: str = ""
    """Hash of all measured and commanded joints, whatever the episode is called; empty without."""
    looks: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Camera key -> colours of its mean picture, see `training.audit.measures.looks_of`."""

    @property
    def takeovers(self) -> Takeovers:
        """How often and how long operators took over from a policy."""
        return Takeovers(
            count=round(self.measures.get("takeovers", 0.0)),
            seconds=self.measures.get("takeover_s", 0.0),
            policy_seconds=self.measures.get("policy_s", 0.0),
        )

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the rules that flag or refuse it."""
        return tuple(rule for rule, said in self.verdicts.items() if said in ("flag", "refuse"))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: NaN as null."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "score": self.score,
            "task": self.task,
            "operator": self.operator,
            "outcome": self.outcome,
            "sha256": self.sha256,
            "motion": self.motion,
            "verdicts": dict(self.verdicts),
            "findings": [_plain(finding.as_dict()) for finding in self.findings],
            "untold": dict(self.untold),
            "measures": _plain(self.measures),
            "looks": {key: list(look) for key, look in self.looks.items()},
        }


@dataclass(frozen=True, kw_only=True)
class SetAudit:
    """A folder of episodes, judged one by one and against each other."""

    folder: str
    """Folder that was looked at."""
    episodes: tuple[EpisodeAudit, ...]
    """In the order of their names."""
    rules: Mapping[str, str]
    """Rule -> what it asks for and where its bound comes from, in words."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Episode -> why nothing of it could be read."""

    @property
    def score(self) -> float:
        """Mean of the episodes' scores; 0 without any."""
        scores = [episode.score for episode in self.episodes]
        return float(np.mean(scores)) if scores else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "folder": self.folder,
            "score": self.score,
            "rules": dict(self.rules),
            "unreadable": dict(self.unreadable),
            "episodes": [episode.as_dict() for episode in self.episodes],
        }


def episode_from_dict(values: Mapping[str, Any]) -> EpisodeAudit:
    """Return the audit whose `EpisodeAudit.as_dict` was stored."""
    return EpisodeAudit(
        name=values["name"],
        seconds=values["seconds"],
        score=values["score"],
        task=values["task"],
        operator=values["operator"],
        outcome=values["outcome"],
        sha256=values.get("sha256", ""),
        motion=values.get("motion", ""),
        verdicts=values["verdicts"],
        findings=tuple(Finding(**_numbers(finding)) for finding in values["findings"]),
        untold=values.get("untold", {}),
        measures=_numbers(values["measures"]),
        looks={key: tuple(look) for key, look in values.get("looks", {}).items()},
    )


def set_from_dict(values: Mapping[str, Any]) -> SetAudit:
    """Return the audit whose `SetAudit.as_dict` was stored."""
    return SetAudit(
        folder=values["folder"],
        rules=values["rules"],
        unreadable=values["unreadable"],
        episodes=tuple(episode_from_dict(episode) for episode in values["episodes"]),
    )


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _number(value) for key, value in values.items()}
