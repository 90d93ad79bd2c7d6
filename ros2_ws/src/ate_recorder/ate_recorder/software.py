"""Which software records: versions of packages, and the commit of the code that runs."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from contextlib import suppress
from pathlib import Path

PACKAGES = ("ate-stack", "mcap", "rosbags", "ros-rclpy", "rclpy")
"""The stack, the libraries that write the bag, ROS."""
_PATIENCE = 5.0
"""How long git may take [s]."""


def software_versions() -> dict[str, str]:
    """Return the versions of what records, and the commit as ``git``; unknown ones are absent."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    commit = git_commit(Path(__file__).parent) or _installed_commit("ate-stack")
    return {**versions, "git": commit} if commit else versions


def git_commit(folder: Path) -> str:
    """Return the commit of a checkout, ``-dirty`` added where files differ; empty for none."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    command += ["--match", "no tag"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _installed_commit(package: str) -> str:
    """Return the commit a package was installed from, as pip writes it down; empty for none."""
    with suppress(importlib.metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        text = importlib.metadata.distribution(package).read_text("direct_url.json")
        return str(json.loads(text or "{}")["vcs_info"]["commit_id"])
    return ""
