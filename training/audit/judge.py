"""Judges one episode, and a set of them: all rules, a score and measures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from training.audit.findings import Finding, Rule, Untold, flagging_rules, refusing_rules
from training.audit.looks import LOOK_RULE, LOOK_WORDS, odd_look
from training.audit.measures import looks_of, measures_of
from training.audit.report import EpisodeAudit, Verdict
from training.audit.rules.needs import lacks
from training.data.bag_reader import BagEpisode

FLAG_COST = 15.0
"""What a rule that flags an episode takes from its score."""
REFUSE_COST = 60.0
"""What a rule that refuses it takes."""
LEAST_SET = 8
"""Episodes from which on one can be said to be unlike the others."""
OUTLIER = 6.0
"""Distance from the median, in robust standard deviations, that makes an outlier."""
SPREADS = {
    "seconds": 0.5,
    "idle_fraction": 0.05,
    "start_rad": 0.015,
    "path_rad": 0.5,
    "speed_max_rad_s": 0.3,
    "force_max_n": 5.0,
    "brightness": 5.0,
    "sharpness": 0.01,
    "command_lag_s": 0.015,
    "red_less_blue": 3.0,
    "left_less_right": 5.0,
    "top_less_bottom": 5.0,
    "force_noise_n": 0.02,
    "force_x_n": 0.3,
    "force_y_n": 0.3,
    "force_z_n": 0.3,
    "gripper_start": 0.05,
    "gripper_mean": 0.05,
}
"""Ending of a measure that is compared -> least standard deviation: a set may be more even than it
matters."""
OUTLIER_RULE, DUPLICATE_RULE = "outlier", "duplicate"
SET_RULES = {
    OUTLIER_RULE: (
        "An episode is like the others of its task in length, way, speed, rest, forces, their "
        "axes and noise, start posture, openings, lag of its arms, and in light, colours and "
        "sides of its pictures."
        "\n\nBound: 6 robust standard deviations from the median of at least 8 episodes."
    ),
    LOOK_RULE: LOOK_WORDS,
    DUPLICATE_RULE: (
        "No episode has the motion of another one, under whatever name.\n\nBound: all joints and "
        "commands to the last bit; the first by name is left alone."
    ),
}
"""Rules that compare an episode with its set -> what they ask for."""


def audit_episode(name: str, episode: BagEpisode) -> EpisodeAudit:
    """Return one episode judged by every rule.

    Args:
        name: Name of its folder or file.
        episode: As recorded, or as `training.audit.hdf5` makes it.
    """
    verdicts: dict[str, Verdict] = {}
    findings: list[Finding] = []
    untold: dict[str, str] = {}
    for rule_name, rule in all_rules().items():
        if lacks(rule, episode):
            verdicts[rule_name] = "not judged"
            continue
        verdicts[rule_name], found, unknown = _verdict_of(list(rule(episode)))
        findings += found
        if unknown:
            untold[rule_name] = unknown
    measures = measures_of(episode)
    return EpisodeAudit(
        name=name,
        seconds=measures["seconds"],
        score=score_of(verdicts),
        verdicts=verdicts,
        findings=tuple(findings),
        untold=untold,
        measures=measures,
        task=str(episode.info.get("task") or episode.scene.get("task", "")),
        operator=str(episode.info.get("operator", "")),
        outcome=str(episode.outcome.get("outcome", "")),
        sha256=str(episode.info.get("sha256", "")),
        motion=_motion_hash(episode),
        looks=looks_of(episode),
    )


def _motion_hash(episode: BagEpisode) -> str:
    """Hash of all measured and commanded joints; empty where none was measured."""
    digest, rows = hashlib.sha256(), 0
    for side in episode.cell.arms:
        for part in ("state", "command"):
            series = episode.series.get(f"{side}_arm_{part}")
            if series is not None:
                digest.update(np.ascontiguousarray(series.values).tobytes())
                rows += len(series)
    return digest.hexdigest() if rows else ""


def score_of(verdicts: Mapping[str, Verdict]) -> float:
    """Return 100, less 15 for each rule that flags and 60 for each that refuses, at least 0."""
    said = list(verdicts.values())
    return max(0.0, 100.0 - FLAG_COST * said.count("flag") - REFUSE_COST * said.count("refuse"))


def compare(episodes: Sequence[EpisodeAudit]) -> tuple[EpisodeAudit, ...]:
    """Return the episodes with the verdicts of `SET_RULES`; outliers are those of a task."""
    tasks: dict[str, list[int]] = {}
    for index, episode in enumerate(episodes):
        tasks.setdefault(episode.task, []).append(index)
    judged = list(episodes)
    for rows in tasks.values():
        names = {
            name
            for row in rows
            for name in episodes[row].measures
            if name.endswith(tuple(SPREADS))
        }
        unlike: dict[int, list[Finding | Untold]] = {row: [] for row in rows}
        is_judged = len(rows) >= LEAST_SET
        for name in sorted(names) if is_judged else ():
            values = [episodes[row].measures.get(name, np.nan) for row in rows]
            for place, found in _outliers(name, values):
                unlike[rows[place]].append(found)
        for row, found_here in unlike.items():
            said = found_here or _not_compared(row, rows, episodes, names)
            judged[row] = _with_rule(episodes[row], OUTLIER_RULE, said, is_judged)
            looks = _odd_looks(row, rows, episodes)
            judged[row] = _with_rule(judged[row], LOOK_RULE, looks, is_judged)
    first: dict[str, str] = {}
    for row, episode in enumerate(judged):
        other = first.setdefault(episode.motion, episode.name)
        same = [_duplicate(other)] if episode.motion and other != episode.name else []
        is_judged = bool(episode.motion) and len(episodes) > 1
        judged[row] = _with_rule(episode, DUPLICATE_RULE, same, is_judged)
    return tuple(judged)


def _odd_looks(
    row: int, rows: Sequence[int], episodes: Sequence[EpisodeAudit]
) -> list[Finding | Untold]:
    """Cameras of an episode that look other than in the others of its task, or cannot be told."""
    found: list[Finding | Untold] = []
    if not episodes[row].looks:
        return [Untold(rule=LOOK_RULE, stream="cameras", reason="it has no pictures")]
    for camera, look in episodes[row].looks.items():
        others = [episodes[one].looks.get(camera, ()) for one in rows if one != row]
        others = [other for other in others if len(other) == len(look)]
        said: Finding | Untold | None
        if len(others) + 1 >= LEAST_SET:
            said = odd_look(camera, look, others)
        else:
            reason = f"{len(others)} other episodes show it (at least {LEAST_SET - 1})"
            said = Untold(rule=LOOK_RULE, stream=camera, reason=reason)
        found += [said] if said is not None else []
    return found


def _not_compared(
    row: int, rows: Sequence[int], episodes: Sequence[EpisodeAudit], names: Collection[str]
) -> list[Finding | Untold]:
    """Say that an episode shares no measure with enough others; nothing where it does."""

    def is_known(one: int, name: str) -> bool:
        return bool(np.isfinite(episodes[one].measures.get(name, np.nan)))

    for name in names:
        if is_known(row, name) and sum(is_known(one, name) for one in rows) >= LEAST_SET:
            return []
    reason = f"it shares none with {LEAST_SET - 1} other episodes"
    return [Untold(rule=OUTLIER_RULE, stream="measures", reason=reason)]


def _duplicate(other: str) -> Finding:
    text = (
        f"its joints and commands are those of {other} to the last bit: it is the same "
        "demonstration under another name; delete one with `ate episodes delete`"
    )
    return Finding(
        rule=DUPLICATE_RULE, severity="flag", stream="", message=text,
        value=1.0, bound=0.0, start_s=0.0, end_s=0.0,
    )  # fmt: skip


def all_rules() -> dict[str, Rule]:
    """Every rule of one episode by name, those that refuse first."""
    return refusing_rules() | flagging_rules()


def rule_words() -> dict[str, str]:
    """Every rule with what it asks for and where its bound comes from."""
    said = {name: str(rule.__doc__) for name, rule in all_rules().items()}
    said |= SET_RULES
    return {name: " ".join(words.replace("``", "").split()) for name, words in said.items()}


def rules_version(words: Mapping[str, str]) -> str:
    """Return a short hash of what the rules ask for: audits with another one had other rules."""
    return hashlib.sha256(json.dumps(dict(words), sort_keys=True).encode()).hexdigest()[:12]


def _verdict_of(said: Sequence[Finding | Untold]) -> tuple[Verdict, list[Finding], str]:
    """Verdict of a rule, its findings, and of what it cannot tell and why."""
    found = [one for one in said if isinstance(one, Finding)]
    untold = "; ".join(f"{one.stream}: {one.reason}" for one in said if isinstance(one, Untold))
    if not found:
        return "cannot tell" if untold else "pass", found, untold
    refused = any(one.severity == "refuse" for one in found)
    return "refuse" if refused else "flag", found, untold


def _outliers(name: str, values: Sequence[float]) -> list[tuple[int, Finding]]:
    numbers = np.array(values, dtype=np.float64)
    known = numbers[np.isfinite(numbers)]
    if len(known) < LEAST_SET:
        return []
    middle = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - middle)))
    spread = max(spread, *(least for end, least in SPREADS.items() if name.endswith(end)))
    found = []
    for place, value in enumerate(numbers.tolist()):
        away = abs(value - middle) / spread
        if away > OUTLIER:
            text = (
                f"{name} is {value:.3g}, the set's median {middle:.3g}: {away:.1f} robust "
                f"standard deviations away (bound {OUTLIER:g}); look at it before it is trained on"
            )
            found.append(
                (
                    place,
                    Finding(
                        rule=OUTLIER_RULE,
                        severity="flag",
                        stream=name,
                        message=text,
                        value=value,
                        bound=middle + np.sign(value - middle) * OUTLIER * spread,
                        start_s=0.0,
                        end_s=0.0,
                    ),
                )
            )
    return found


def _with_rule(
    episode: EpisodeAudit, rule: str, said: Sequence[Finding | Untold], is_judged: bool
) -> EpisodeAudit:
    """The audit with what a rule that compares episodes said of one."""
    verdict, found, untold = _verdict_of(said)
    verdicts = {**episode.verdicts, rule: verdict if is_judged else "not judged"}
    return replace(
        episode,
        verdicts=verdicts,
        findings=(*episode.findings, *found),
        untold={**episode.untold, **({rule: untold} if untold else {})},
        score=score_of(verdicts),
    )
