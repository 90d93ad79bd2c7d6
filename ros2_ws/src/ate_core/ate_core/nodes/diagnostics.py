"""Lines of ``/diagnostics``."""

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from ate_core.health import Health

LEVELS = {
    "ok": DiagnosticStatus.OK,
    "warn": DiagnosticStatus.WARN,
    "error": DiagnosticStatus.ERROR,
    "stale": DiagnosticStatus.STALE,
}


def health_line(health: Health, name: str, hardware_id: str) -> DiagnosticStatus:
    """A device's health as a line.

    Args:
        health: how it is.
        name: of the line, as ``camera_node: overhead``.
        hardware_id: which device.
    """
    return DiagnosticStatus(
        level=LEVELS[health.level],
        name=name,
        message=health.message,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in health.values.items()],
    )
