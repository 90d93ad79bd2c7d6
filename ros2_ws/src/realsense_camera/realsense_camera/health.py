"""What the diagnostics say about a camera; no ROS, no clock."""

from collections.abc import Iterator

from ate_core.health import Health, Level
from realsense_camera.encoder import EncoderStats
from realsense_camera.stream import StreamStats

LOW_RATE = 0.8
"""Share of the wanted rate below which a camera counts as slow."""
HIGH_RATE = 1.2
"""Share of the wanted rate above which a camera takes no notice of it."""
IGNORED_RATE = "the camera does not keep fps: set a rate that it has in cell.yaml"
"""What is told of a camera that is too fast."""


def camera_health(
    stats: StreamStats, fps: int, new_gaps: int, encoder: EncoderStats, new_drops: int = 0
) -> Health:
    """Judge a stream.

    Args:
        stats: the stream's counts.
        fps: wanted rate [Hz].
        new_gaps: frames skipped by the camera since the last judgement.
        encoder: what became of the frames.
        new_drops: frames that the encoder could not keep up with or publish since then.
    """
    level, message = _judge(stats, fps, new_gaps, new_drops)
    values = {
        "rate [Hz]": f"{stats.rate:.1f}",
        "age of the last frame [s]": f"{stats.age:.3f}",
        "frames": str(stats.frames),
        "skipped frames": str(stats.gaps),
        "repeated frames": str(stats.repeats),
        "malformed frames": str(stats.malformed),
        "dropped by the encoder": str(encoder.dropped + encoder.failed),
        "openings": str(stats.openings),
    }
    return Health(level=level, message=message, values=values)


def _judge(stats: StreamStats, fps: int, new_gaps: int, new_drops: int) -> tuple[Level, str]:
    if stats.error:
        return "error", stats.error
    if stats.age > max(3.0 / fps, 0.2):
        return "stale", f"no frame for {stats.age:.1f} s"
    losses = "; ".join(_losses(stats, fps, new_gaps, new_drops))
    return ("warn", losses) if losses else ("ok", "working")


def _losses(stats: StreamStats, fps: int, new_gaps: int, new_drops: int) -> Iterator[str]:
    if stats.odd:
        yield stats.odd
    if new_gaps:
        yield f"{new_gaps} frames lost: check the USB topology and the load"
    if new_drops:
        yield f"{new_drops} frames not compressed in time: lessen the load or the size"
    if 0.0 < stats.rate < LOW_RATE * fps:
        yield f"{stats.rate:.1f} Hz instead of {fps} Hz: check exposure, cable and load"
    if stats.is_full and stats.rate > HIGH_RATE * fps:
        yield f"{stats.rate:.1f} Hz instead of {fps} Hz: {IGNORED_RATE}"
