"""Frames of a video by their time, decoded in one pass (PyAV; AV1, H.264 and what it knows)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ate_core.errors import EpisodeError
from training.foreign.pictures import pixels, to_jpeg


@dataclass(frozen=True, kw_only=True)
class VideoFrames:
    """The frames of one episode in a video file that may hold several."""

    path: Path
    """File."""
    times: NDArray[np.float64]
    """Time of each row in the file [s]."""
    rate: float
    """Rows per second [Hz]."""

    def jpegs(self, rows: NDArray[np.int64], *, swap: bool) -> Iterator[bytes]:
        """See `training.foreign.recordings.Frames`."""
        last, jpeg = -1, b""
        wanted = np.unique(rows)
        frames = frames_at(self.path, self.times[wanted].tolist(), 0.5 / self.rate)
        for row in rows.tolist():
            if row != last:
                last, jpeg = row, to_jpeg(pixels(next(frames)), swap=swap)
            yield jpeg


def count_frames(path: Path) -> int:
    """Frames of a file, counted from its packets without decoding them.

    Raises:
        EpisodeError: it cannot be read.
    """
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            return sum(packet.size > 0 for packet in container.demux(_stream(container, path)))
    except (av.error.FFmpegError, OSError) as error:
        raise _broken(path, error) from None


def frames_at(path: Path, times: Sequence[float], tolerance: float) -> Iterator[VideoFrame]:
    """Yield the frame shown at each time.

    Args:
        path: File.
        times: Rising [s].
        tolerance: Largest distance of a frame from its time [s].

    Raises:
        EpisodeError: there is no such frame, or the file is broken.
    """
    if not times:
        return
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = _stream(container, path)
            stream.thread_type = "AUTO"
            yield from _matched(_decoded(container, stream, times[0]), path, times, tolerance)
    except (av.error.FFmpegError, OSError) as error:
        raise _broken(path, error) from None


def _matched(
    frames: Iterator[VideoFrame], path: Path, times: Sequence[float], tolerance: float
) -> Iterator[VideoFrame]:
    """The nearest frame to each time; holds two frames."""
    before = next(frames, None)
    after = next(frames, None)
    for time in times:
        while after is not None and abs(_time(after) - time) <= abs(_time(before) - time):
            before, after = after, next(frames, None)
        if before is None or abs(_time(before) - time) > tolerance:
            found = "it ends before" if after is None else f"the nearest is at {_time(before):.3f}"
            raise EpisodeError(
                f"{path} has no frame at {time:.3f} s ({found}; bound {tolerance * 1e3:.0f} ms): "
                "copy the recordings again, or remove the episode"
            )
        if before.is_corrupt:
            raise EpisodeError(f"{path} is broken at {time:.3f} s: copy the recordings again")
        yield before


def _decoded(
    container: av.container.InputContainer, stream: VideoStream, first: float
) -> Iterator[VideoFrame]:
    """Frames from the last key frame before a time on; from the start where seeking fails."""
    base = float(stream.time_base or 0)
    if first > 0 and base > 0:
        container.seek(int(first / base), stream=stream)
        frames = container.decode(stream)
        frame = next(frames, None)
        if frame is not None and _time(frame) <= first:
            yield frame
            yield from frames
            return
        container.seek(0, stream=stream)
    yield from container.decode(stream)


def _stream(container: av.container.InputContainer, path: Path) -> VideoStream:
    if not container.streams.video:
        raise EpisodeError(f"{path} holds no video: copy the recordings again")
    return container.streams.video[0]


def _time(frame: VideoFrame | None) -> float:
    return float("inf") if frame is None or frame.time is None else float(frame.time)


def _broken(path: Path, error: Exception) -> EpisodeError:
    return EpisodeError(f"{path} cannot be decoded ({_line(error)}): copy the recordings again")


def _line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:160]
