"""`ate report`: one self-contained HTML page of a run, from the files its stages left."""

import html
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ate_core.errors import UsageError
from ate_core.json_text import read_object, read_objects
from ate_policy.models.interface import PolicyConfig
from ate_policy.run_report import by_kind
from ate_policy.transforms import ChunkTransform
from training.configs.output_folder import make_folder
from training.data.dataset import gather
from training.data.episode_file import list_episodes, read_episode
from training.data.trajectory import read_trajectories
from training.evaluation.comparison import compare, success_rate
from training.evaluation.find import find_evaluations
from training.evaluation.record import group, pool, pooled_document, read_evaluation
from training.reporting.evaluation_page import evaluation_page
from training.reporting.figures import losses_figure, period_figure, plane_figure
from training.reporting.html_page import image, note, page, section, table, video
from training.reporting.terminal import terminal
from training.vae.storage import StoredVae, load_vae

REMEDY = "run the stage that wrote it again"
LATENT_POINTS = 600
"""Points of each group in the picture of the latent space."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Build the report of a run folder, or of evaluations."""

    run: Path | None = None
    """Run folder, as `ate demo` leaves it."""
    evaluations: tuple[Path, ...] = ()
    """Files of `ate evaluate`, `ate score` or of a deployment's report:=, or folders of them: what
    has equal settings and weights is pooled, for instance of machines that shared the starts."""
    merged: Path | None = None
    """JSON file for the pooled outcomes; refused where the evaluations cannot be pooled."""
    output: Path | None = None
    """HTML file; default: report.html in the run folder, or beside the first evaluation."""

    def __post_init__(self) -> None:
        """Refuse none and both."""
        if (self.run is None) == (not self.evaluations):
            raise UsageError("give --run FOLDER of `ate demo`, or --evaluations FILES")
        if self.merged is not None and not self.evaluations:
            raise UsageError("--merged needs --evaluations: name the files to merge")


def report(config: ReportConfig) -> int:
    """Write the page; sections whose files are missing say so."""
    if config.run is None:
        return _report_evaluations(config)
    run = config.run
    if not (run / "timings.json").is_file():
        raise UsageError(f"{run} holds no timings.json: give the folder of an `ate demo` run")
    settings = read_object(run / "timings.json", UsageError, REMEDY)
    if not {"config", "stages"} <= set(settings):
        raise UsageError(f"{run}/timings.json is not of an `ate demo` run: run `ate demo` again")
    policies = _policies(run)
    body = [
        _heading(settings["config"]),
        _summary(policies),
        section("Success", _success(run, policies)),
        section("Demonstrations", _demonstrations(run)),
        section("Control loop", _loops(run)),
        section("Training", _training(run)),
        section("Latent space", _latent(run)),
        section("Cameras", _cameras(run)),
        section("Video", _video(run / "rollout.mp4")),
        section(
            "Stage timings", _timings(settings["stages"], settings["config"].get("clocks", "1"))
        ),
    ]
    return _save(page("Run report", body), config.output or run / "report.html")


def _report_evaluations(config: ReportConfig) -> int:
    found = find_evaluations(config.evaluations)
    if config.merged is not None:
        make_folder(config.merged.parent)
        config.merged.write_text(json.dumps(pooled_document(pool(found)), indent=1) + "\n")
    first = config.evaluations[0]
    folder = first if first.is_dir() else first.parent
    return _save(evaluation_page(group(found)), config.output or folder / "report.html")


def _save(text: str, output: Path) -> int:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)
    terminal().print(f"report: {output} ({len(text) / 1e6:.1f} MB)")
    return 0


def _read_json(path: Path, *entries: str) -> dict[str, Any] | None:
    """The document in a file, with entries that it needs; None without the file."""
    if not path.is_file():
        return None
    found = read_object(path, UsageError, REMEDY)
    _require(path, found, entries)
    return found


def _read_lines(path: Path, *entries: str) -> list[dict[str, Any]]:
    """The documents in a file's lines; none without the file."""
    lines = read_objects(path, UsageError, REMEDY) if path.is_file() else []
    for line in lines:
        _require(path, line, entries)
    return lines


def _require(path: Path, found: Mapping[str, Any], entries: Iterable[str]) -> None:
    if missing := [entry for entry in entries if entry not in found]:
        raise UsageError(f"{path} lacks {', '.join(missing)}: {REMEDY}")


def _heading(settings: dict[str, str]) -> str:
    policy = "cameras" if settings["vision"] == "True" else "object poses"
    return (
        f"<h1>{html.escape(settings['task'])} on the simulated cell</h1>"
        f"<p>{html.escape(settings['demonstrations'])} scripted demonstrations through the whole "
        f"teleoperation path; policy on {policy}; seed {html.escape(settings['seed'])}.</p>"
    )


def _summary(policies: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    if not policies:
        return note("This run was not evaluated.")
    lines = [f"<b>{html.escape(name)}</b>: {_rate(one)}" for name, one in policies.items()]
    return "<p>" + "<br>".join(lines) + "</p>"


def _policies(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Rollouts of each policy; none without an evaluation."""
    file = run / "evaluation.json"
    if not file.is_file():
        return {}
    read_evaluation(file)  # refuses a damaged one
    return dict(read_object(file, UsageError, REMEDY)["policies"])


def _rate(trials: Sequence[dict[str, Any]]) -> str:
    """Success of those that say something of the policy; what was stuck or aborted beside it."""
    counts = Counter(trial.get("outcome", "") for trial in trials)
    judged = [trial for trial in trials if trial.get("outcome") != "aborted"]
    rate = success_rate(sum(bool(t["success"]) for t in judged), len(judged)) if judged else "-"
    apart = [f"{counts[kind]} {kind}" for kind in ("stuck", "aborted") if counts[kind]]
    return ", ".join([str(rate), *apart])


def _success(run: Path, policies: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    if not policies:
        return note("No evaluation.json: run `ate evaluate`.")
    rows = []
    for name, trials in policies.items():
        scores = [t["score"] for t in trials]
        refused = _refused(sum((Counter(t.get("refusals", {})) for t in trials), Counter()))
        mean = f"{sum(scores) / len(scores):.2f}"
        rows.append(("in process", name, _rate(trials), mean, refused))
    for file in sorted(run.glob("nodes_*.jsonl")):
        trials = _read_lines(file, "success", "score")
        if trials:
            name = file.stem.removeprefix("nodes_")
            judged = [t["score"] for t in trials if t.get("outcome") != "aborted"]
            score = sum(judged) / len(judged) if judged else math.nan
            refused = _refused_by_node(run / f"timing_{name}.json")
            rows.append(("through the nodes", name, _rate(trials), f"{score:.2f}", refused))
    head = ("path", "policy", "success", "mean score", "chunks refused, by kind")
    content = table(head, rows)
    if {"plain", "guided"} <= set(policies):
        plain = [bool(t["success"]) for t in policies["plain"]]
        guided = [bool(t["success"]) for t in policies["guided"]]
        paired = compare(plain, guided)
        content += (
            f"<p>Plain against guided on the same {len(plain)} starts: {html.escape(str(paired))}."
            " So few rollouts of one training seed can show only large effects; what many seeds"
            " show stands in docs/study.md and docs/study_pretrained.md.</p>"
        )
    return content


def _refused_by_node(timing: Path) -> str:
    document = _read_json(timing, "runtime")
    if document is None:
        return ""
    runtime = document["runtime"]
    missed = runtime.get("unobserved", 0)
    waited = f"; {missed} ticks without an observation" if missed else ""
    return _refused(runtime.get("refusals", {"of any kind": runtime["refused"]})) + waited


def _refused(kinds: Mapping[str, int]) -> str:
    """Refused chunks by kind, for people."""
    return by_kind({kind: count for kind, count in kinds.items() if count})


def _demonstrations(run: Path) -> str:
    episodes = _read_lines(run / "demonstrations.jsonl", "success", "kept", "total_s", "reason")
    if not episodes:
        return note("No demonstrations.jsonl.")
    kept = sum(bool(episode["kept"]) for episode in episodes)
    total = sum(float(episode["total_s"]) for episode in episodes)
    reasons = sorted({episode["reason"] for episode in episodes if episode["reason"]})
    text = (
        f"<p>Headset stream, clutch, inverse kinematics, vendor SDK, controller, world: "
        f"{_rate(episodes)} episodes succeeded, {kept} kept, {len(_converted(run))} converted, "
        f"{total / len(episodes):.1f} s per episode.</p>"
    )
    if reasons:
        text += table(("why episodes failed",), [(reason,) for reason in reasons])
    return text


def _loops(run: Path) -> str:
    loops = {}
    for file in sorted(run.glob("timing_*.json")):
        document = read_object(file, UsageError, REMEDY)
        _require(file, document, ("loop",))
        loops[f"policy node, {file.stem.removeprefix('timing_')}"] = document["loop"]
    if not loops:
        return note("The policy was not deployed through the nodes.")
    rows = [
        (name, loop["ticks"], *(f"{loop[k]:.2f}" for k in ("median_ms", "p99_ms")), loop["misses"])
        for name, loop in loops.items()
    ]
    head = ("loop", "ticks", "period median [ms]", "period p99 [ms]", "ticks missed")
    return table(head, rows) + image(period_figure(loops), "png", "deviation of the period")


def _training(run: Path) -> str:
    content = ""
    for names, title in (
        (("vae_pretraining", "vae_adaptation"), "action VAEs"),
        (("plain", "guided"), "policies"),
    ):
        figure = losses_figure({name: run / name for name in names})
        if figure is not None:
            content += f"<p>{title}</p>" + image(figure, "png", f"losses of the {title}")
    content += _sources(run / "vae_pretraining")
    remark = "Plain and guided losses have different targets: compare success, not losses."
    return (content or note("No training logs.")) + note(remark)


def _sources(vae: Path) -> str:
    """Which data the first VAE was trained on, as its own checkpoint says."""
    config = _read_json(vae / "last" / "config.json")
    sources = (config or {}).get("training", {}).get("sources")
    if not sources:
        return ""
    rows = [(name, count) for name, count in sources.items()]
    return "<p>Pre-training motion of the first VAE</p>" + table(("source", "chunks"), rows)


def _latent(run: Path) -> str:
    folders = [run / name for name in ("vae_pretraining", "vae_adaptation", "episodes")]
    if not all(folder.is_dir() for folder in folders):
        return note("No pair of VAEs.")
    first, second = (load_vae(folder) for folder in folders[:2])
    chunks = _demonstrated_chunks(folders[2], second)
    samples = first.moments.sample(LATENT_POINTS, torch.Generator().manual_seed(0))
    groups = {
        "prior: samples of q_phi": samples,
        "demonstrations, pre-training encoder": first.model.encode(chunks)[0],
        "demonstrations, aligned encoder": second.model.encode(chunks)[0],
    }
    return image(plane_figure(groups), "png", "latent space")


def _demonstrated_chunks(episodes: Path, vae: StoredVae) -> Tensor:
    """Some chunks (N, H, D) of the demonstrations, normalised as the VAE learned them."""
    data = gather(read_trajectories(episodes), PolicyConfig(horizon=vae.model.config.horizon))
    rows = torch.linspace(0, len(data) - 1, min(LATENT_POINTS, len(data))).long()
    chunks = data.actions[data.windows[rows]]
    return ChunkTransform(vae.checkpoint.statistics).encode_chunk(chunks, data.states[rows])


def _converted(run: Path) -> list[Path]:
    return list_episodes(run / "episodes") if (run / "episodes").is_dir() else []


def _cameras(run: Path) -> str:
    files = _converted(run)
    if not files:
        return note("No episodes.")
    episode = read_episode(files[0])
    views = []
    for key, images in sorted(episode.images.items()):
        middle = bytes(images[len(images) // 2])
        views.append(image(middle, "jpeg", key))
    return f"<p class='views'>{''.join(views)}</p><p>from {html.escape(files[0].name)}</p>"


def _video(path: Path) -> str:
    if not path.is_file():
        return note("No video.")
    return video(path)


def _timings(stages: Sequence[dict[str, Any]], clocks: str) -> str:
    """True seconds of each stage; what its nodes tell may be by slower clocks."""
    slow = "All nodes of this run went by clocks that went at {} of their speed: cite no latency."
    rows = [(s["stage"], f"{s['seconds']:.0f}", "ate " + " ".join(s["words"])) for s in stages]
    told = note(slow.format(clocks)) if clocks != "1" else ""
    return told + table(("stage", "seconds", "command"), rows)
