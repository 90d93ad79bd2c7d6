"""Write frames as a short video that browsers play."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import UsageError

VIDEO_SIZE = (270, 480)
"""Height and width of a video of the simulated cell [px]."""


def write_video(path: Path, frames: Sequence[NDArray[np.uint8]], rate: float) -> None:
    """Write an H.264 MP4.

    Args:
        path: file to write.
        frames: RGB images (height, width, 3) of equal, even size.
        rate: frames per second [Hz].
    """
    import av

    if not frames:
        raise UsageError(f"there is no frame to write into {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(rate).limit_denominator(1000), options={"crf": "28"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
