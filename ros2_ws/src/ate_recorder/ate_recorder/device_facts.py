"""What devices say of themselves on /diagnostics: model, firmware, serial; for each episode."""

from __future__ import annotations

from collections.abc import Mapping

IDENTITY = ("controller", "model", "firmware", "serial", "version", "adapter")
"""Entries of a line of diagnostics that tell what a device is, not how it is."""
LONGEST = 200
"""Characters of a fact that are kept."""
MOST_DEVICES = 64
"""Devices that are kept."""


class DeviceFacts:
    """The latest word of each device about itself."""

    def __init__(self) -> None:
        self._devices: dict[str, dict[str, str]] = {}

    def hear(self, name: str, hardware_id: str, values: Mapping[str, str]) -> None:
        """Take one line of /diagnostics.

        Args:
            name: Of the line, as ``camera_node: overhead``.
            hardware_id: Which device; a line without one is about no device.
            values: Its entries.
        """
        if not hardware_id or (name not in self._devices and len(self._devices) >= MOST_DEVICES):
            return
        facts = {key: values[key][:LONGEST] for key in IDENTITY if values.get(key)}
        self._devices[name] = {"hardware_id": hardware_id[:LONGEST], **facts}

    def as_dict(self) -> dict[str, dict[str, str]]:
        """Return the facts by name of the line."""
        return {name: dict(facts) for name, facts in sorted(self._devices.items())}
