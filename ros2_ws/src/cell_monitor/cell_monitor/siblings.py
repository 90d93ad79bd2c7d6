"""Processes that the same launch has started, found by the name of their node. Linux."""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
PARENT, STARTED = 1, 19
"""Fields of ``/proc/<pid>/stat`` behind the name: parent, start in clock ticks after boot."""


@dataclass(frozen=True, kw_only=True)
class Sibling:
    """A process that our own parent has started too."""

    pid: int
    """Its number."""
    age: float
    """Time since its start [s]."""


def find_sibling(full_name: str, proc: Path = PROC) -> Sibling | None:
    """Process of a node that our own parent has started too; None: there is no single one.

    Only a brother is ever found, so nothing outside the launch can be taken for one.
    """
    namespace, _, name = full_name.rpartition("/")
    wanted = {f"__node:={name}"} | ({f"__ns:={namespace}"} if namespace else set())
    uptime = float((proc / "uptime").read_text().split()[0])
    found = []
    for folder in proc.glob("[0-9]*"):
        try:
            words = set((folder / "cmdline").read_bytes().decode(errors="replace").split("\0"))
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        in_namespace = any(word.startswith("__ns:=") for word in words)
        is_brother = int(fields[PARENT]) == os.getppid()
        if is_brother and wanted <= words and bool(namespace) == in_namespace:
            age = uptime - int(fields[STARTED]) / os.sysconf("SC_CLK_TCK")
            found.append(Sibling(pid=int(folder.name), age=age))
    return found[0] if len(found) == 1 else None
