"""The report as one HTML file that needs no network."""

from __future__ import annotations

from pathlib import Path

from ate_core.files import replace_text
from training.audit.report import EpisodeAudit, SetAudit
from training.reporting.html_page import image, note, page, section, table


def write_page(output: Path, found: SetAudit) -> None:
    """Write the page: a table of all episodes, then each with its findings and pictures."""
    rows = [
        (episode.name, f"{episode.score:.0f}", f"{episode.seconds:.1f}", ", ".join(episode.failed))
        for episode in sorted(found.episodes, key=lambda episode: episode.score)
    ]
    body = [
        f"<h1>Audit of {len(found.episodes)} episodes</h1>",
        table(("episode", "score", "seconds", "rules that speak"), rows),
        *(_episode(episode) for episode in found.episodes),
        section("Unreadable", table(("episode", "reason"), found.unreadable.items())),
        section("Rules", table(("rule", "what it asks for"), found.rules.items())),
    ]
    output.parent.mkdir(parents=True, exist_ok=True)
    replace_text(output, page("Audit of episodes", body))


def _episode(episode: EpisodeAudit) -> str:
    said = table(
        ("rule", "from [s]", "to [s]", "finding"),
        ((f.rule, f"{f.start_s:.2f}", f"{f.end_s:.2f}", f.message) for f in episode.findings),
    )
    pictures = "".join(
        "<div>" + "".join(image(entry.jpeg, "jpeg", key) for entry in entries) + "</div>"
        for key, entries in episode.thumbnails.items()
    )
    return section(f"{episode.name}: {episode.score:.0f}", (said or note("clean")) + pictures)
