"""The pictures of one camera as a video, and videos joined without encoding them again."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ate_core.errors import EpisodeError, UsageError

GROUP = 2
"""Frames from one key frame to the next: any frame is found by decoding two at most."""
PIXELS = "yuv420p"
"""Layout of the pixels in the file."""
BLOCK = 64
"""Pictures read at once."""
SAMPLED_EVERY = (5, 4)
"""Pictures and, of those, pixels per axis from one that counts in the statistics to the next."""


@dataclass(frozen=True, kw_only=True)
class Codec:
    """An encoder and what it is told."""

    encoder: str
    """Its name in FFmpeg."""
    quality: int
    """Constant rate factor, lower is better and larger."""
    options: dict[str, str]
    """Further options."""


CODECS = {
    "av1": Codec(
        encoder="libsvtav1", quality=30, options={"preset": "10", "svtav1-params": "lp=1"}
    ),
    # Without frames that refer to later ones, so that files can be joined packet by packet.
    "h264": Codec(
        encoder="libx264", quality=20, options={"preset": "veryfast", "bf": "0", "threads": "1"}
    ),
}
"""Word on the command line -> codec. One thread each: episodes are encoded side by side, and the
same pictures give the same bytes on every machine."""


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """How the pictures are encoded."""

    codec: Literal["av1", "h264"] = "av1"
    """av1 is smaller, h264 encodes faster and plays everywhere."""
    quality: int | None = None
    """Constant rate factor, lower is better and larger; None: 30 for av1, 20 for h264."""

    def __post_init__(self) -> None:
        if self.quality is not None and not 0 <= self.quality <= 51:
            raise UsageError(f"--video.quality {self.quality} is outside 0 to 51")

    @property
    def rate_factor(self) -> int:
        """The quality that is used."""
        return CODECS[self.codec].quality if self.quality is None else self.quality

    def text(self) -> str:
        """Everything that decides the bytes of a video."""
        codec = CODECS[self.codec]
        return f"{codec.encoder} {self.rate_factor} {codec.options} {GROUP} {PIXELS}"


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What a video holds."""

    height: int
    """Of a frame [px]."""
    width: int
    """Of a frame [px]."""
    histogram: NDArray[np.int64]
    """How often a sampled pixel has a value, shape (3, 256)."""
    sampled: int
    """Pictures that were sampled."""


def encode_video(
    path: Path, jpegs: Sequence[bytes], rate: int, config: VideoConfig, name: str
) -> VideoFacts:
    """Write an MP4 with one frame per picture, frame k at k / rate.

    Args:
        path: File to write.
        jpegs: The pictures; each is read once, in order.
        rate: Frames per second [Hz].
        config: Codec and quality.
        name: Of the camera, for messages.

    Raises:
        EpisodeError: a picture is none, or of another size than the first.
    """
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder greets on stderr otherwise
    codec = CODECS[config.codec]
    options = {**codec.options, "g": str(GROUP), "crf": str(config.rate_factor)}
    histogram, sampled = np.zeros((3, 256), np.int64), 0
    pictures, pixels = SAMPLED_EVERY
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream(codec.encoder, rate=Fraction(rate), options=options)
        for tick, jpeg in enumerate(in_blocks(jpegs)):
            image = decode_picture(jpeg, name, tick)
            if tick == 0:
                height, width = _even(image, name)
                stream.width, stream.height, stream.pix_fmt = width, height, PIXELS
            elif image.shape != (height, width, 3):
                raise EpisodeError(
                    f"{name} at tick {tick} is {image.shape[1]}x{image.shape[0]}, the first "
                    f"picture {width}x{height}: a video has one size"
                )
            if tick % pictures == 0:
                part = image[::pixels, ::pixels]
                histogram += [np.bincount(part[..., c].ravel(), minlength=256) for c in range(3)]
                sampled += 1
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return VideoFacts(height=height, width=width, histogram=histogram, sampled=sampled)


def in_blocks(jpegs: Sequence[bytes]) -> Iterator[bytes]:
    """The pictures in order, read some at a time: neither one by one nor all at once."""
    for start in range(0, len(jpegs), BLOCK):
        yield from jpegs[start : start + BLOCK]


def decode_picture(jpeg: bytes, name: str, tick: int) -> NDArray[np.uint8]:
    """Decode a whole JPEG to RGB, shape (height, width, 3).

    Raises:
        EpisodeError: it is none, or only a part of one.
    """
    try:
        image: NDArray[np.uint8] = simplejpeg.decode_jpeg(jpeg, "RGB")
    except ValueError as error:
        raise EpisodeError(
            f"{name} at tick {tick}: {len(jpeg)} bytes are no whole JPEG ({error})"
        ) from None
    return image


def count_frames(path: Path) -> int:
    """Packets of a video, which are its frames."""
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def header_of(path: Path) -> bytes:
    """What a decoder is told before the first frame; videos with equal headers can be joined."""
    with av.open(str(path)) as container:
        return bytes(container.streams.video[0].codec_context.extradata or b"")


def join_videos(path: Path, parts: Sequence[Path], rate: int) -> None:
    """Write one MP4 with the frames of several, packet by packet.

    Args:
        path: File to write.
        parts: Videos of one rate and equal headers, in order.
        rate: Frames per second [Hz].
    """
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as output:
        stream: Any = None
        frames = 0
        for part in parts:
            with av.open(str(part)) as container:
                source = container.streams.video[0]
                if stream is None:
                    stream = output.add_stream_from_template(source, opaque=True)
                    stream.time_base = source.time_base
                step = Fraction(1, rate) / Fraction(source.time_base or 1)
                for packet in container.demux(source):
                    if not packet.size:
                        continue
                    packet.pts = packet.dts = int(frames * step)
                    packet.stream = stream
                    output.mux(packet)
                    frames += 1


def _even(image: NDArray[np.uint8], name: str) -> tuple[int, int]:
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        raise EpisodeError(f"{name} is {width}x{height}; a video needs even width and height")
    return height, width
