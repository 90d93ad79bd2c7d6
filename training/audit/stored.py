"""Audits as they are kept: inside a converted episode, or in ``audit.json`` beside a set."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ate_core.errors import EpisodeError
from ate_core.json_text import UNREADABLE, finite
from training.audit.findings import Finding
from training.audit.judge import rule_words, rules_version, score_of
from training.audit.report import UNJUDGED, EpisodeAudit, Verdict, episode_from_dict

REPORT_FILE = "audit.json"
"""Report beside the episodes, without pictures: what gates read."""


@dataclass(frozen=True, kw_only=True)
class StoredAudit:
    """What rules said of one episode."""

    verdicts: Mapping[str, Verdict]
    """Rule -> what it says."""
    findings: tuple[Finding, ...]
    """What they found."""
    rules: str
    """Version of the rules (`rules_version`)."""

    @property
    def score(self) -> float:
        """100 without findings, down to 0."""
        return score_of(self.verdicts)

    def as_dict(self) -> dict[str, Any]:
        """Plain values: the attribute ``audit`` of an episode."""
        return {
            "score": self.score,
            "rules": self.rules,
            "verdicts": dict(self.verdicts),
            "findings": [finite(finding.as_dict()) for finding in self.findings],
        }

    def completed(self, other: StoredAudit | None) -> StoredAudit:
        """With what another audit says where this one could not judge."""
        if other is None:
            return self
        more = {
            rule: said
            for rule, said in other.verdicts.items()
            if self.verdicts.get(rule, "not judged") in UNJUDGED
        }
        found = tuple(finding for finding in other.findings if finding.rule in more)
        return StoredAudit(
            verdicts={**self.verdicts, **more},
            findings=self.findings + found,
            rules=self.rules,
        )


@dataclass(frozen=True, kw_only=True)
class Reports:
    """The audits in ``audit.json`` of a folder of converted episodes."""

    audits: Mapping[tuple[str, str], StoredAudit]
    """`Episode.sha256` and outcome -> audit: one of another file under the same name does not
    count, nor one made before the episode was labelled otherwise."""

    def of(
        self, sha256: str, inside: Mapping[str, Any], where: str, *, outcome: str, own: str
    ) -> StoredAudit | None:
        """The audit of an episode as it is now; None without any.

        Args:
            sha256: `Episode.sha256`.
            inside: Its attribute ``audit``, completed by what stands beside it.
            where: Its file, for messages.
            outcome: How it ended, by the label given last.
            own: How it ended as its file says, for which ``inside`` was made; where a label says
                otherwise, ``inside`` only completes what stands beside it.
        """
        beside = self.audits.get((sha256, outcome))
        if not inside:
            return beside
        made = parse_audit(inside, where)
        if own != outcome:
            return beside.completed(made) if beside else None
        return made.completed(beside)


def stored_audit(judged: EpisodeAudit) -> StoredAudit:
    """What is kept of an audit that was made now."""
    return StoredAudit(
        verdicts=judged.verdicts, findings=judged.findings, rules=rules_version(rule_words())
    )


def parse_audit(values: Mapping[str, Any], where: str) -> StoredAudit:
    """Return what `StoredAudit.as_dict` gave.

    Raises:
        EpisodeError: it is something else.
    """
    try:
        return StoredAudit(
            verdicts=dict(values["verdicts"]),
            findings=tuple(Finding(**_numbers(finding)) for finding in values["findings"]),
            rules=str(values["rules"]),
        )
    except UNREADABLE as error:
        raise EpisodeError(
            f"the audit of {where} cannot be read ({error}): convert its bag again with --audit"
        ) from None


def read_reports(folder: Path) -> Reports:
    """Read ``audit.json`` of a folder; empty where there is none.

    Raises:
        EpisodeError: it is damaged.
    """
    file = folder / REPORT_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        rules = rules_version(values["rules"])
        judged = [episode_from_dict(one) for one in values["episodes"]]
    except (FileNotFoundError, NotADirectoryError):
        return Reports(audits={})
    except (*UNREADABLE, OSError) as error:
        raise EpisodeError(
            f"{file} cannot be read ({error}): write it anew with `ate audit --bags {folder}`"
        ) from None
    return Reports(
        audits={
            (one.sha256, one.outcome): StoredAudit(
                verdicts=one.verdicts, findings=one.findings, rules=rules
            )
            for one in judged
            if one.sha256
        }
    )


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {key: math.nan if value is None else value for key, value in values.items()}
