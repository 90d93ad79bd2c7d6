"""``ate episodes export``: the good episodes of a set as a new one, with its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ate_core.disk_refusals import remedy
from ate_core.errors import AteError, DiskError, EpisodeError, UsageError
from ate_core.json_text import UNREADABLE
from training.audit.gate import Gate
from training.audit.stored import REPORT_FILE, StoredAudit, read_reports
from training.data.disk_room import require_room
from training.data.episode_file import list_episodes, read_outcome_of
from training.data.set_files import label_file
from training.data.summaries import (
    Summary,
    file_sha256,
    read_summary,
    summarise,
    write_summary,
)
from training.episodes.card import Listed, audit_of, card_text, describe
from training.export.copies import new_folder
from training.export.report import FAILURES, ExportReport, one_line

CARD_FILES = ("README.md", "card.json")
"""The card for people, and for machines."""


def export_set(
    folder: Path,
    output: Path,
    *,
    gate: Gate,
    outcome: str,
    license_: str,
    overwrite: bool,
) -> list[ExportReport]:
    """Copy episodes into a new folder, numbered from 0, and write its card.

    Args:
        folder: Of converted episodes; it stays as it is.
        output: Folder that is made, whole or not at all.
        gate: What their audits must say.
        outcome: Label of those that are copied; empty: all.
        license_: Of the new set; empty: unknown.
        overwrite: Whether an output that is there is replaced.

    Raises:
        AteError: no episode is left, or the output cannot be written.
    """
    paths = list_episodes(folder)
    gate.require_known([path.stem for path in paths], folder)
    reports: list[ExportReport] = []
    chosen = _choose(paths, gate, outcome, reports)
    if not chosen:
        reasons = "; ".join(f"{one.name}: {one.note}" for one in reports[:3])
        raise EpisodeError(f"no episode of {folder} is left to export ({reasons})")
    require_room(output, sum(path.stat().st_size for path in chosen), "the copies")
    if overwrite and output.exists() and not (output / CARD_FILES[1]).is_file():
        raise UsageError(
            f"{output} holds no {CARD_FILES[1]}, so it is no export and is not replaced: name "
            "another --output"
        )
    with new_folder(output.resolve(), overwrite, folder, _not_exported) as working:
        try:
            _fill(working, folder, chosen, reports, output.name, license_)
        except BaseException as error:
            shutil.rmtree(working, ignore_errors=True)
            if isinstance(error, OSError):
                raise DiskError(
                    f"{output} is not made ({error.strerror or error}), nothing of it is left: "
                    f"{remedy(error)}, or choose a folder on another disk"
                ) from None
            raise
    return sorted(reports, key=lambda report: report.name)


def _not_exported(output: Path) -> str:
    """An episode or bag that the card of an export does not name; empty: there is none."""
    if not output.exists():
        return ""
    try:
        files = json.loads((output / CARD_FILES[1]).read_text(encoding="utf-8"))["files"]
        names = {Path(file["name"]).stem for file in files}
    except UNREADABLE as error:
        return f"{output / CARD_FILES[1]} does not say what was exported ({error})"
    for path in sorted(output.glob("episode_*")):
        if path.name.partition(".")[0] not in names or path.is_dir():
            return f"{path.name} is not of that export"
    return ""


def _fill(
    working: Path,
    folder: Path,
    chosen: Mapping[Path, Listed],
    reports: list[ExportReport],
    name: str,
    license_: str,
) -> None:
    """Copy episodes, and write their card, into an empty folder."""
    listed = []
    for index, (path, one) in enumerate(chosen.items()):
        copy = _copy(path, working / f"episode_{index:06d}.hdf5", one.summary)
        listed.append(replace(one, name=copy.name))
        ticks = one.summary.facts["ticks"]
        reports.append(
            ExportReport(name=path.stem, result="exported", ticks=ticks, note=copy.name)
        )
    _copy_report(folder, working, {one.summary.sha256: one.name for one in listed})
    card = describe(listed, name, license_)
    (working / CARD_FILES[0]).write_text(card_text(card), encoding="utf-8")
    (working / CARD_FILES[1]).write_text(
        json.dumps(card, indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )


def _choose(
    paths: list[Path], gate: Gate, outcome: str, reports: list[ExportReport]
) -> dict[Path, Listed]:
    chosen: dict[Path, Listed] = {}
    audits = read_reports(paths[0].parent)
    seen: list[StoredAudit] = []
    for path in paths:
        try:
            label = read_outcome_of(path)
            reason = gate.names(path.stem)
            if outcome and label != outcome and not reason:
                reason = f"its outcome is {label}, wanted is {outcome}"
            if reason:
                reports.append(ExportReport(name=path.stem, result="left out", note=reason))
                continue
            summary = read_summary(path) or summarise(path)
            audit = audit_of(summary, audits, path)
        except FAILURES as error:
            reports.append(ExportReport(name=path.stem, result="rejected", note=one_line(error)))
            continue
        if gate.needs_audit:
            if audit is None:
                raise EpisodeError(
                    f"{path} was never audited as it is now: run `ate audit --bags {path.parent}`"
                )
            seen.append(audit)
            if reason := gate.refusal(audit):
                reports.append(ExportReport(name=path.stem, result="left out", note=reason))
                continue
        chosen[path] = Listed(name=path.name, outcome=label, summary=summary, audit=audit)
    gate.require_judged(seen, str(paths[0].parent))
    return chosen


def _copy(path: Path, copy: Path, summary: Summary) -> Path:
    """Copy an episode with its label and summary, and compare the bytes."""
    shutil.copyfile(path, copy)
    if file_sha256(copy) != summary.file_sha256:
        raise EpisodeError(
            f"{path} was read otherwise before: it is being changed, or the disk errs; try again"
        )
    if label_file(path).is_file():
        shutil.copyfile(label_file(path), label_file(copy))
    write_summary(copy, replace(summary, mtime_ns=copy.stat().st_mtime_ns))
    return copy


def _copy_report(folder: Path, target: Path, names: Mapping[str, str]) -> None:
    """Take the audits of the copied episodes along, under their new names."""
    try:
        report = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
        kept = [
            {**entry, "name": Path(names[entry["sha256"]]).stem}
            for entry in report["episodes"]
            if entry.get("sha256") in names
        ]
        if kept:
            text = json.dumps({**report, "folder": target.name, "episodes": kept}, indent=1)
            (target / REPORT_FILE).write_text(text + "\n", encoding="utf-8")
    except FileNotFoundError:
        return
    except UNREADABLE as error:
        raise AteError(f"{folder / REPORT_FILE} cannot be read ({error})") from None
