"""The gate before conversion and training: which episodes an audit lets through."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ate_core.errors import EpisodeError, UsageError
from training.audit.findings import FLAGS, REFUSALS
from training.audit.judge import SET_RULES, rule_words, rules_version
from training.audit.report import UNJUDGED
from training.audit.stored import StoredAudit

EPISODE = re.compile(r"episode_\d{6}")
"""What names an episode in `--exclude`; every other word names a rule."""
TOLD = 3
"""Findings named for an episode that is kept out."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What an episode must be like to be converted, or trained on."""

    min_score: float = 0.0
    """Least score of the audit, 0 to 100."""
    exclude: tuple[str, ...] = ()
    """Episodes (``episode_000003``) and rules (``idle``) whose findings keep an episode out."""

    def __post_init__(self) -> None:
        """Refuse a score that none can have, and words that name neither episode nor rule."""
        if not 0.0 <= self.min_score <= 100.0:
            raise UsageError(f"--min-score is {self.min_score}, must lie in 0..100")
        known = rule_names()
        for word in self.rules:
            if word not in known:
                close = difflib.get_close_matches(word, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"rules are {', '.join(known)}"
                raise UsageError(
                    f"--exclude {word} is neither an episode (episode_000003) nor a rule of the "
                    f"audit: {hint}"
                )

    @property
    def rules(self) -> tuple[str, ...]:
        """Rules whose findings keep an episode out."""
        return tuple(word for word in self.exclude if not EPISODE.fullmatch(word))

    @property
    def needs_audit(self) -> bool:
        """Whether an episode must be audited to pass."""
        return bool(self.min_score or self.rules)

    def require_known(self, episodes: Collection[str], where: Path) -> None:
        """Refuse an episode in `--exclude` that is not there: a slip would let it through.

        Raises:
            UsageError: naming it.
        """
        for word in self.exclude:
            if EPISODE.fullmatch(word) and word not in episodes:
                raise UsageError(
                    f"--exclude {word}: {where} has no such episode; `ate episodes list {where}` "
                    "shows them"
                )

    def names(self, episode: str) -> str:
        """Why an episode is kept out by its name alone; empty when it is not."""
        return "named by --exclude" if episode in self.exclude else ""

    def refusal(self, audit: StoredAudit) -> str:
        """Why an episode is kept out, with rule, value and bound; empty when it passes."""
        found = [finding for finding in audit.findings if finding.rule in self.rules]
        if found:
            return f"--exclude {found[0].rule}: {_told(found)}"
        failed = [rule for rule in self.rules if audit.verdicts.get(rule) in ("flag", "refuse")]
        if failed:
            return f"--exclude {failed[0]}"
        if audit.score < self.min_score:
            return f"score {audit.score:g}, --min-score {self.min_score:g}: " + _told(
                audit.findings
            )
        return ""

    def unjudged(self, audit: StoredAudit) -> tuple[str, ...]:
        """Rules of `--exclude` that could not be judged, for lack of data or of motion."""
        return tuple(
            rule for rule in self.rules if audit.verdicts.get(rule, "not judged") in UNJUDGED
        )

    def require_judged(self, audits: Sequence[StoredAudit], where: str) -> tuple[str, ...]:
        """Refuse a gate that looks at nothing.

        Args:
            audits: Of all episodes that came to the gate.
            where: Their folder.

        Returns:
            What to tell: rules that some episodes lack, and audits by other rules than today's.

        Raises:
            EpisodeError: a rule of `--exclude` was judged in none of them.
        """
        told = []
        for rule in self.rules:
            missing = sum(rule in self.unjudged(audit) for audit in audits)
            if audits and missing == len(audits):
                raise EpisodeError(
                    f"--exclude {rule}: it was judged in none of the {len(audits)} episodes of "
                    f"{where}, which lack the data for it (convert their bags with --audit) or "
                    "the motion to tell: leave it out"
                )
            if missing:
                told.append(f"{rule} was not judged in {missing} of {len(audits)} episodes")
        today = rules_version(rule_words())
        older = sum(audit.rules != today for audit in audits)
        if self.needs_audit and older:
            told.append(
                f"{older} of {len(audits)} episodes were judged by other rules than today's"
            )
        return tuple(told)

    def __str__(self) -> str:
        """As options; empty where everything passes."""
        words = [f"--min-score {self.min_score:g}"] if self.min_score else []
        words += [f"--exclude {' '.join(self.exclude)}"] if self.exclude else []
        return " ".join(words)


class Gated:
    """Options that let only such episodes through."""

    min_score: float
    exclude: tuple[str, ...]

    @property
    def gate(self) -> Gate:
        """What an episode must be like; made anew, it refuses what cannot be meant."""
        return Gate(min_score=self.min_score, exclude=tuple(self.exclude))


def rule_names() -> tuple[str, ...]:
    """Every rule that an audit knows."""
    return (*REFUSALS.names(), *FLAGS.names(), *SET_RULES)


def _told(findings: Sequence[object]) -> str:
    more = f" (and {len(findings) - TOLD} more)" if len(findings) > TOLD else ""
    return "; ".join(map(str, findings[:TOLD])) + more


OPEN = Gate()
"""Lets everything through."""
