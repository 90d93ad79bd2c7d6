"""What AV1 and H.264 cost and keep of the pictures: speed, size and PSNR, beside the JPEGs.

    python -m benchmarks.video_codecs --video FILE.mp4   # real pictures, first made JPEGs of
    python -m benchmarks.video_codecs                    # made pictures of 960x540

Per codec, with the settings of `ate export lerobot`: CPU milliseconds per picture (reading the
JPEG included), size as a share of the JPEGs and per hour of one camera, and the PSNR against the
decoded JPEGs. The fastest of three turns counts.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import simplejpeg
import tyro
from numpy.typing import NDArray

from benchmarks.conversion import LOOKS, _picture
from training.export.camera_video import VideoConfig, encode_video

RATE = 20
"""Pictures per second on ticks [Hz]."""
TURNS = 3
WIDTH, HEIGHT = 960, 540


@dataclass(frozen=True, kw_only=True)
class CodecConfig:
    """Compare the codecs."""

    video: Path | None = None
    """Video whose pictures are taken; made ones otherwise."""
    pictures: int = 200
    """How many."""
    jpeg_quality: int = 80
    """Of the JPEGs that are made of a video, 1 to 100."""


def main(config: CodecConfig) -> None:
    """Encode, read back, print."""
    jpegs = _jpegs(config)
    size = sum(map(len, jpegs))
    gigabytes = size / len(jpegs) * RATE * 3600 / 1e9
    print(f"{len(jpegs)} pictures, as JPEG {gigabytes:.2f} GB per hour of one camera at {RATE} Hz")
    with tempfile.TemporaryDirectory() as name:
        for codec in ("av1", "h264"):
            path = Path(name) / f"{codec}.mp4"
            used = min(_encode(path, jpegs, codec) for _ in range(TURNS))
            share = path.stat().st_size / size
            print(
                f"{codec:<5} {1e3 * used / len(jpegs):6.1f} CPU ms per picture, "
                f"{share:.2f} of the JPEGs ({share * gigabytes:.2f} GB/h), "
                f"PSNR {_psnr(path, jpegs):.1f} dB"
            )


def _jpegs(config: CodecConfig) -> list[bytes]:
    if config.video is None:
        step = 2 * np.pi / LOOKS
        return [_picture(WIDTH, HEIGHT, tick * step) for tick in range(config.pictures)]
    quality = config.jpeg_quality
    with av.open(str(config.video)) as container:
        frames = zip(range(config.pictures), container.decode(video=0), strict=False)
        images = (np.ascontiguousarray(frame.to_ndarray(format="rgb24")) for _, frame in frames)
        return [bytes(simplejpeg.encode_jpeg(image, quality, "RGB", "420")) for image in images]


def _encode(path: Path, jpegs: list[bytes], codec: Any) -> float:
    start = time.process_time()
    encode_video(path, jpegs, RATE, VideoConfig(codec=codec), "camera")
    return time.process_time() - start


def _psnr(path: Path, jpegs: list[bytes]) -> float:
    errors = [
        np.mean((simplejpeg.decode_jpeg(jpeg, "RGB").astype(np.float32) - frame) ** 2)
        for jpeg, frame in zip(jpegs, _frames(path), strict=True)
    ]
    return float(10 * np.log10(255.0**2 / np.mean(errors)))


def _frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


if __name__ == "__main__":
    main(tyro.cli(CodecConfig))
