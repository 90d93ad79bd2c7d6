"""Writes the page of an audit: one file, and beside it a folder where there is much to show."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ate_core.disk_refusals import remedy
from ate_core.errors import EpisodeError, UsageError
from ate_core.files import replace_text
from training.audit.page.views import films_of, plots_of
from training.audit.report import EpisodeAudit, SetAudit
from training.data.bag_reader import BagEpisode
from training.reporting.html_page import page

LARGEST = 16_000_000
"""Characters of all episodes from which on they lie beside the page: browsers read all of it."""
HERE = Path(__file__).parent
MEASURED = {
    "command_lag": ("", "_command_lag_s"),
    "force_peak": ("", "_force_max_n"),
    "gaps": ("", "longest_pause_s"),
    "gripper_chatter": ("", "_gripper_reversals"),
    "idle": ("", "idle_fraction"),
    "jerk": ("", "_acceleration_max_rad_s2"),
    "jump": ("", "_speed_max_rad_s"),
    "late_camera": ("cam_", "_lag_s"),
    "near_limit": ("", "_near_limit_fraction"),
    "rate": ("", "lowest_rate_share"),
    "skew": ("", "largest_median_skew_s"),
}
"""Rule -> how the measures begin and end that it judges: shown where it has nothing to say."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What is shown of one episode."""

    text: str = ""
    """Plots and films as JSON."""
    thumbnails: Mapping[str, str] = field(default_factory=dict)
    """Camera key -> a picture as base64."""
    problem: str = ""
    """Why nothing could be drawn."""


def draw(episode: BagEpisode, audit: EpisodeAudit) -> Drawn:
    """Draw an episode; what cannot be drawn was judged nevertheless."""
    try:
        films = films_of(episode)
        text = _json(
            {
                "plots": [plot.as_dict() for plot in plots_of(episode, audit.seconds)],
                "films": {key: film.as_dict() for key, film in films.items()},
            }
        )
        thumbnails = {key: film.thumbnail() for key, film in films.items()}
    except Exception as error:  # any
        return Drawn(problem=f"nothing is drawn of it: {type(error).__name__}: {error}")
    return Drawn(text=text, thumbnails=thumbnails)


class PageWriter:
    """Takes episodes one by one, so that their pictures never lie in memory together.

    Args:
        output: HTML file to write.

    Raises:
        UsageError: no file can be written there; told before anything is judged.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._shown: dict[str, dict[str, Any]] = {}
        self._files: dict[str, Path] = {}
        self._problems: dict[str, str] = {}
        self._size = 0
        self._error: OSError | None = None
        if output.is_dir():
            raise UsageError(
                f"--output {output} is a folder: name a file in it, {output / 'audit.html'}"
            )
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            self._spool = TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent)
        except OSError as error:
            raise UsageError(
                f"--output {output} cannot be written ({error.strerror}): name another file"
            ) from None

    def add(self, name: str, episode: BagEpisode, audit: EpisodeAudit) -> None:
        """Write down what is shown of an episode; a full disk is told of at the end."""
        self.take(name, draw(episode, audit))

    def take(self, name: str, drawn: Drawn) -> None:
        """Write down what is shown of an episode; in whatever order, the page is the same."""
        if self._error is not None:
            return
        if drawn.problem:
            self._problems[name] = drawn.problem
            return
        self._files[name] = Path(self._spool.name) / f"{len(self._files)}.json"
        try:
            self._files[name].write_text(drawn.text, encoding="utf-8")
        except OSError as error:
            self._error = error
        self._size += len(drawn.text)
        self._shown[name] = {
            "digest": hashlib.sha256(drawn.text.encode()).hexdigest()[:16],
            "thumbnails": drawn.thumbnails,
        }

    def finish(self, found: SetAudit) -> None:
        """Write the page.

        Raises:
            EpisodeError: the disk is full, or the folder cannot be written.
        """
        try:
            with self._spool:
                if self._error is not None:
                    raise self._error
                for number, name in enumerate(sorted(self._shown)):
                    self._shown[name]["number"] = number
                folder = self._output.with_name(f"{self._output.stem}_files")
                is_beside = self._size > LARGEST
                if is_beside:
                    self._lay_beside(folder)
                _clear(folder, len(self._shown) if is_beside else 0)
                body = [
                    f"<style>{(HERE / 'audit.css').read_text()}</style>",
                    (HERE / "audit.html").read_text(),
                    _data("audit", self._document(found, folder.name if is_beside else "")),
                    *(() if is_beside else self._inside()),
                    f"<script>{(HERE / 'audit.js').read_text()}</script>",
                ]
                replace_text(self._output, page(f"Audit of {found.folder}", body))
        except OSError as error:
            raise EpisodeError(
                f"{self._output} is not written ({error.strerror or error}); {remedy(error)}, or "
                "name another file"
            ) from None

    def _document(self, found: SetAudit, folder: str) -> dict[str, Any]:
        episodes = []
        for episode in found.as_dict()["episodes"]:
            name = episode["name"]
            shown = self._shown.get(name, {"problem": self._problems.get(name, "")})
            episodes.append({**episode, **shown})
        return {**found.as_dict(), "episodes": episodes, "files": folder, "measured": MEASURED}

    def _texts(self) -> Iterator[tuple[dict[str, Any], str]]:
        """What is shown of each episode, by name, with its plots and films."""
        for name in sorted(self._shown):
            yield self._shown[name], self._files[name].read_text(encoding="utf-8")

    def _lay_beside(self, folder: Path) -> None:
        """As scripts, for a page opened from a disk may read nothing else."""
        folder.mkdir(exist_ok=True)
        for shown, text in self._texts():
            script = f"takeEpisode({shown['number']}, {shown['digest']!r}, {_safe(text)});\n"
            replace_text(folder / f"{shown['number']}.js", script)

    def _inside(self) -> list[str]:
        return [_script(f"episode-{shown['number']}", text) for shown, text in self._texts()]


def _clear(folder: Path, kept: int) -> None:
    """Remove what an earlier audit left in its folder, and nothing else."""
    for path in folder.glob("*.js"):
        if path.stem.isdecimal() and int(path.stem) >= kept:
            path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _data(name: str, values: Mapping[str, Any]) -> str:
    return _script(name, _json(values))


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, allow_nan=False, separators=(",", ":"))


def _script(name: str, text: str) -> str:
    return f'<script type="application/json" id="{html.escape(name)}">{_safe(text)}</script>'


def _safe(text: str) -> str:
    """JSON in which no tag can begin: names come from data."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
