"""What an audit has judged so far, so that one that was killed goes on where it was.

One line of JSON per episode, in a file beside the episodes that is removed when the report is
written. A line counts as long as the episode's files and the rules are the same; one that was cut
short does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ate_core.json_text import UNREADABLE
from training.audit.report import EpisodeAudit, episode_from_dict
from training.data.set_files import label_file
from training.reporting.terminal import terminal

if TYPE_CHECKING:
    from training.audit.page.writer import Drawn

JOURNAL_FILE = "audit.partial.jsonl"
"""Beside the episodes."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What came of one episode."""

    name: str
    """Of the episode."""
    audit: EpisodeAudit | None = None
    """Its audit; None where nothing could be read."""
    drawn: Drawn | None = None
    """What the page shows of it."""
    reason: str = ""
    """Why nothing could be read."""


class Journal:
    """The file of one audit.

    Args:
        folder: Of the episodes.
        signatures: Episode -> what its line must carry to count.
    """

    def __init__(self, folder: Path, signatures: Mapping[str, str]) -> None:
        self._file = folder / JOURNAL_FILE
        self._signatures = signatures
        self._is_kept = len(signatures) > 1  # one alone is judged in one go

    def read(self) -> Iterator[Judged]:
        """Yield what an earlier audit judged, each episode once."""
        seen: set[str] = set()
        try:
            with self._file.open(encoding="utf-8") as stream:
                for line in stream:
                    one = self._parsed(line)
                    if one is not None and one.name not in seen:
                        seen.add(one.name)
                        yield one
        except (OSError, UnicodeDecodeError):
            return  # there is none, or what follows cannot be read and is judged anew

    def keep(self, one: Judged) -> None:
        """Write a line; where there is no room for it the audit goes on without."""
        if not self._is_kept:
            return
        line = {
            "name": one.name,
            "signature": self._signatures[one.name],
            "audit": one.audit.as_dict() if one.audit is not None else None,
            "drawn": asdict(one.drawn) if one.drawn is not None else None,
            "reason": one.reason,
        }
        try:
            with self._file.open("a", encoding="utf-8") as stream:
                # A line that was cut short ends here, and spoils no other.
                stream.write(("\n" if stream.tell() else "") + json.dumps(line))
        except OSError as error:
            self._is_kept = False
            terminal(stderr=True).print(
                f"{self._file} not written ({error.strerror}): a stopped audit begins anew"
            )

    def close(self) -> None:
        """Remove the file: the report holds it all."""
        with contextlib.suppress(OSError):  # a folder that cannot be written has none
            self._file.unlink(missing_ok=True)

    def _parsed(self, line: str) -> Judged | None:
        try:
            values: dict[str, Any] = json.loads(line)
            name = str(values["name"])
            if not values["signature"] or values["signature"] != self._signatures.get(name):
                return None
            audit, drawn = values["audit"], values["drawn"]
            if drawn is not None:
                from training.audit.page.writer import Drawn

                drawn = Drawn(**drawn)
            return Judged(
                name=name,
                audit=episode_from_dict(audit) if audit is not None else None,
                drawn=drawn,
                reason=str(values["reason"]),
            )
        except UNREADABLE:
            return None


def signature_of(path: Path, *also: str) -> str:
    """Return a hash of names, sizes and times: of a file and its label, or of all in a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path, label_file(path)]
    digest = hashlib.sha256(os.fsencode("\n".join(also)))
    for file in files:
        if file.is_file() and file.name not in (JOURNAL_FILE, "audit.json"):
            found = file.stat()
            digest.update(os.fsencode(f"{file} {found.st_size} {found.st_mtime_ns}\n"))
    return digest.hexdigest()
