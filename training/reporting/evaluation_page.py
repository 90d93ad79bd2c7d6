"""The page of evaluations: success, perturbations, motion, worst cases, and what decided them."""

import html
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from training.evaluation.comparison import success_rate
from training.evaluation.intervals import mean_band
from training.evaluation.motion import MEASURES, PHASE_POINTS, align
from training.evaluation.record import Evaluation, Outcomes, video_of, why_apart, worst
from training.evaluation.summary import (
    against_usual,
    comparisons,
    motion_ratios,
    phase_ratios,
    refused_chunks,
    seam_sentence,
    verdict,
)
from training.reporting.figures import png
from training.reporting.html_page import image, note, page, section, table, video
from training.studies.rollout import Trial

WORST = 3
"""Worst rollouts of each policy that are listed."""


def evaluation_page(evaluations: Sequence[Evaluation]) -> str:
    """The whole page, a part for each evaluation."""
    body = ["<h1>Evaluation</h1>"]
    for one, before in zip(evaluations, [None, *evaluations], strict=False):
        body.append(f"<h1>{html.escape(_title(one))}</h1>")
        if before is not None:
            body.append(note(f"Not pooled with the part before: {why_apart(before, one)}."))
        body += _part(one)
    return page("Evaluation", body)


def _title(evaluation: Evaluation) -> str:
    settings = evaluation.settings
    return f"{settings.get('task', '')}, {settings.get('difficulty', '')} starts"


def _part(evaluation: Evaluation) -> list[str]:
    return [
        section("Success", _success(evaluation)),
        section("Outcomes by kind", _outcomes(evaluation)),
        section("Perturbations", _perturbed(evaluation)),
        section("Motion", _motion(evaluation.usual)),
        section("Worst cases", _worst(evaluation)),
        section("Settings, weights, software", _settings(evaluation)),
    ]


def _success(evaluation: Evaluation) -> str:
    rows = [
        (
            name,
            _rate(trials),
            f"{np.mean([t.score for t in trials]):.2f}",
            _median([t.duration for t in trials]),
        )
        for name, trials in evaluation.usual.items()
        if trials
    ]
    head = ("policy", "success", "mean score", "median duration [s]")
    stopped = evaluation.settings.get("stop_early")
    lines = [verdict(evaluation.usual)] if stopped else comparisons(evaluation.usual)
    lines += [
        f"{name}: {told}" for name, t in evaluation.usual.items() if (told := seam_sentence(t))
    ]
    figure = image(rates_figure(evaluation.usual), "png", "success rates with intervals")
    return table(head, rows) + figure + "".join(f"<p>{html.escape(one)}</p>" for one in lines)


def _rate(trials: Sequence[Trial]) -> str:
    return str(success_rate(sum(t.success for t in trials), len(trials))) if trials else "-"


def _outcomes(evaluation: Evaluation) -> str:
    rows = []
    for name, trials in evaluation.usual.items():
        kinds = Counter(t.outcome or ("success" if t.success else "failure") for t in trials)
        reasons = Counter(t.reason for t in trials if t.reason).most_common(1)
        why = f"{reasons[0][0]} ({reasons[0][1]} times)" if reasons else ""
        counts = [kinds[kind] for kind in ("success", "failure", "stuck")]
        counts.append(evaluation.aborted.get(name, 0))
        rows.append((name, *counts, refused_chunks(trials), why))
    head = (
        "policy",
        "success",
        "failure",
        "stuck",
        "aborted",
        "chunks refused",
        "most frequent reason",
    )
    return table(head, rows)


def _perturbed(evaluation: Evaluation) -> str:
    rows, stopped = [], bool(evaluation.settings.get("stop_early"))
    for words, policies in evaluation.conditions.items():
        for name, trials in policies.items() if words != "none" else ():
            score = f"{np.mean([t.score for t in trials]):.2f}" if trials else ""
            told = against_usual(evaluation.usual.get(name, []), trials, stopped)
            hit = sum(t.disturbed is not None for t in trials) if "disturbance" in words else ""
            rows.append((words, name, _rate(trials), score, told, hit))
    if not rows:
        return note("None: `ate evaluate --perturbations` rolls out under some.")
    head = (
        "perturbation",
        "policy",
        "success",
        "mean score",
        "usual against perturbed" if stopped else "usual minus perturbed",
        "disturbed",
    )
    verdicts = [
        f"{words}: {verdict(policies)}"
        for words, policies in evaluation.conditions.items()
        if stopped and words != "none"
    ]
    return table(head, rows) + "".join(f"<p>{html.escape(one)}</p>" for one in verdicts)


def _motion(outcomes: Outcomes) -> str:
    rows = []
    for name, trials in outcomes.items():
        done = [t for t in trials if t.success]
        values = [[getattr(t, measure) for t in done] for measure in MEASURES]
        rows.append((name, len(done), *(_median(one) for one in values)))
    units = (f"{name.replace('_', ' ')} [{unit}]" for name, unit in MEASURES.items())
    content = table(("policy", "successes", *units), rows)
    content += note("Medians of the rollouts that succeeded.")
    for first, second in pairwise(outcomes):
        ratios = motion_ratios(outcomes[first], outcomes[second])
        if ratios:
            cells = [_ratio(*ratios[name]) if name in ratios else "" for name in MEASURES]
            head = (f"{second} / {first}, where both succeeded", *MEASURES)
            content += table(head, [("ratio (95 % interval)", *cells)])
        content += _phases(first, second, outcomes)
    curves = force_figure(outcomes)
    return content + (image(curves, "png", "forces on aligned phases") if curves else "")


def _phases(first: str, second: str, outcomes: Outcomes) -> str:
    """Ratios of the measures phase by phase; empty where nothing is known of phases."""
    rows = [
        (phase, count, *(_ratio(*ratios[name]) for name in ("duration", *MEASURES)))
        for phase, (count, ratios) in phase_ratios(outcomes[first], outcomes[second]).items()
    ]
    if not rows:
        return ""
    head = ("phase of the score", "starts", "duration", *MEASURES)
    title = (
        f"<p>{html.escape(second)} / {html.escape(first)} by phase, where both went through it</p>"
    )
    return title + table(head, rows)


def _median(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return f"{np.median(known):.3g}" if known else "-"


def _ratio(ratio: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{ratio:.2f} ({low:.2f}-{high:.2f})" if math.isfinite(high) else f"{ratio:.2f}"


def _worst(evaluation: Evaluation) -> str:
    content = ""
    for name, trials in evaluation.usual.items():
        for trial in worst(trials, WORST):
            told = f"{name}, start {trial.seed}: score {trial.score:.2f}"
            told += "" if math.isnan(trial.duration) else f", {trial.duration:.1f} s"
            told += f", stuck: {trial.reason}" if trial.reason else ""
            content += f"<p>{html.escape(told)}</p>"
            films = (video_of(file, name, trial.seed) for file in evaluation.files)
            content += "".join(video(film) for film in films if film.is_file())
    return content or note("No rollout failed.")


def _settings(evaluation: Evaluation) -> str:
    rows = [("file", str(file)) for file in evaluation.files]
    rows += [(name, str(value)) for name, value in evaluation.settings.items()]
    for name, files in evaluation.hashes.items():
        rows += [(f"{file} of {name}", value) for file, value in files.items()]
    rows += list(evaluation.versions.items())
    seeds = sorted({t.seed for trials in evaluation.usual.values() for t in trials})
    if seeds:
        rows.append(("starts", f"{len(seeds)}, from {seeds[0]} to {seeds[-1]}"))
    return table(("what", "value"), rows)


def rates_figure(outcomes: Mapping[str, Sequence[Trial]]) -> bytes:
    """Success rates with their Wilson intervals."""
    figure = Figure(figsize=(6.5, 0.9 + 0.4 * len(outcomes)))
    axes = figure.add_subplot()
    for row, trials in enumerate(outcomes.values()):
        if trials:
            rate = success_rate(sum(t.success for t in trials), len(trials))
            axes.plot([rate.low, rate.high], [row, row], color="tab:blue", lw=2)
            axes.plot([rate.successes / rate.trials], [row], "o", color="tab:blue")
    axes.set_yticks(range(len(outcomes)), list(outcomes))
    axes.set(xlim=(-0.02, 1.02), ylim=(len(outcomes) - 0.5, -0.5), xlabel="success rate")
    axes.grid(alpha=0.3)
    return png(figure)


def force_figure(outcomes: Mapping[str, Sequence[Trial]]) -> bytes | None:
    """Mean force over the phases of the task, of rollouts that succeeded; None: no force kept."""
    levels = sorted({float(s) for trials in outcomes.values() for t in trials for s in t.stages})
    figure = Figure(figsize=(7.0, 3.2))
    axes = figure.add_subplot()
    for name, trials in outcomes.items():
        done = [t for t in trials if t.success and t.force and "1" in t.stages]
        if not done:
            continue
        curves = np.stack(
            [
                align(np.array(t.force), {float(k): v for k, v in t.stages.items()}, levels)
                for t in done
            ]
        )
        phases = np.arange(curves.shape[1]) / PHASE_POINTS
        (line,) = axes.plot(phases, curves.mean(axis=0), label=f"{name}, {len(done)} rollouts")
        if (band := mean_band(curves)) is not None:
            axes.fill_between(phases, *band, alpha=0.2, color=line.get_color())
    if not axes.lines:
        return None
    axes.set_xticks(range(len(levels) + 1), ["start", *(f"{level:g}" for level in levels)])
    axes.set(xlabel="stage of the score", ylabel="force on a wrist [N]")
    axes.set_title("mean, and 95 % interval at each point from 10 rollouts on", fontsize="small")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    return png(figure)
