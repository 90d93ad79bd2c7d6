"""What the bytes of images tell without decoding them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ate_core.camera_config import CameraConfig
from training.audit.findings import Finding
from training.audit.rules.spans import finding, runs, seconds_of
from training.data.bag_reader import BagEpisode

START, END = b"\xff\xd8", b"\xff\xd9"
"""First and last bytes of a JPEG."""
KINDS = {b"\x89PNG": "a PNG", b"RIFF": "a WebP", b"GIF8": "a GIF", b"BM": "a BMP"}
"""What other files begin with."""
COLOURS = 3
"""Components of a coloured JPEG."""
_NO_FRAME = (0xC4, 0xC8, 0xCC)
"""Markers between 0xC0 and 0xCF that begin no frame header."""
FROZEN_TIME = 0.5
"""How long a camera may show the same picture, to the last byte, while its arm moves [s]."""
FROZEN_MOTION = 0.15
"""Motion of a joint that no camera which sees the arm can miss [rad]."""


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """The images of one camera, read once."""

    problems: dict[int, str]
    """Index -> what is wrong with the file in words."""
    is_repeated: NDArray[np.bool_]
    """Whether an image is the one before it, to the last byte, shape (N,)."""
    hashes: tuple[int, ...]
    """Of the bytes of each, comparable within this process."""


_KNOWN: WeakKeyDictionary[Sequence[bytes], tuple[CameraConfig, ImageFacts]] = WeakKeyDictionary()


def image_facts(images: Sequence[bytes], camera: CameraConfig) -> ImageFacts:
    """Return what the bytes of a camera's images tell; remembered while the images live."""
    if isinstance(images, list):
        return _read_facts(images, camera)
    if images not in _KNOWN or _KNOWN[images][0] != camera:
        _KNOWN[images] = camera, _read_facts(images, camera)
    return _KNOWN[images][1]


def image_problem(data: bytes, width: int, height: int) -> str:
    """Return what forbids some bytes to be a JPEG of a size [px]; empty where nothing does."""
    if not data:
        return "it is empty"
    if not data.startswith(START):
        kind = next((kind for start, kind in KINDS.items() if data.startswith(start)), "no image")
        return f"it is {kind}, not the JPEG that the topic promises"
    frame = _frame(data)
    if frame is None:
        return "its JPEG header is damaged"
    *size, colours = frame
    if size != [width, height]:
        return f"it is {size[0]}x{size[1]} pixels, the contract says {width}x{height}"
    if colours != COLOURS:
        kind = "grey, as an infrared stream's" if colours == 1 else f"of {colours} components"
        return f"it is {kind}, cameras of a cell show colours (Y, Cb, Cr)"
    if not data.rstrip(b"\0").endswith(END):
        return f"its JPEG breaks off after {len(data)} bytes"
    return ""


def broken_image(episode: BagEpisode) -> Iterator[Finding]:
    """Every image is a whole, coloured JPEG of its camera's size, by its header and last bytes.

    Bound: ``width`` and ``height`` of the camera in the contract.
    """
    for camera, images, seconds in cameras(episode):
        problems = image_facts(images, camera).problems
        if problems:
            first = next(iter(problems))
            text = (
                f"{len(problems)} of {len(images)} images of {camera.key} are broken, first "
                f"image {first}: {problems[first]}; check the camera's node and its cable"
            )
            yield finding(
                "broken_image",
                "refuse",
                camera.key,
                text,
                value=len(problems),
                bound=0.0,
                seconds=seconds[list(problems)],
            )


def frozen_camera(episode: BagEpisode) -> Iterator[Finding]:
    """No camera shows the same picture to the last byte while an arm moves before it.

    Bound: 0.15 rad of motion of a joint, of the arm that carries the camera or else of any, within
    at least 0.5 s. Noise tells two pictures of a real camera apart even where nothing moves.
    """
    for camera, images, seconds in cameras(episode):
        for run in runs(image_facts(images, camera).is_repeated):
            # A picture stands from its first showing until the next one is due: of a pause behind
            # it nothing is known, and other rules tell.
            first, last = seconds[run.start - 1], seconds[run.stop - 1] + 1.0 / camera.fps
            moved = motion_before(episode, camera, first, last)
            if last - first >= FROZEN_TIME and moved > FROZEN_MOTION:
                text = (
                    f"{camera.key} shows one picture for {last - first:.2f} s while a joint "
                    f"before it moves by {moved:.2f} rad (bound {FROZEN_MOTION} rad): it was "
                    "frozen under fresh stamps; check the camera's node"
                )
                yield finding(
                    "frozen_camera",
                    "refuse",
                    camera.key,
                    text,
                    value=moved,
                    bound=FROZEN_MOTION,
                    seconds=np.array([first, last]),
                )


def cameras(
    episode: BagEpisode,
) -> Iterator[tuple[CameraConfig, Sequence[bytes], NDArray[np.float64]]]:
    """Yield every recorded camera with its images and their times [s]."""
    for camera in episode.cell.cameras.values():
        images = episode.images.get(camera.key)
        if images is not None and len(images):
            stamps = episode.series[camera.key].stamps_ns
            yield camera, images, seconds_of(episode, stamps)


def sides_before(episode: BagEpisode, camera: CameraConfig) -> tuple[str, ...]:
    """Return the arm that carries a camera, or all that one in the world may see."""
    mount = camera.view.mount if camera.view is not None else ""
    carried = tuple(side for side in episode.cell.arms if mount == f"{side}_flange")
    return carried or tuple(episode.cell.arms)


def motion_before(episode: BagEpisode, camera: CameraConfig, start: float, end: float) -> float:
    """Return the largest range of a joint that a camera sees, between two moments [s] [rad]."""
    largest = 0.0
    for side in sides_before(episode, camera):
        state = episode.series.get(f"{side}_arm_state")
        if state is None:
            continue
        seconds = seconds_of(episode, state.stamps_ns)
        joints = len(episode.cell.arms[side].joint_names)
        rows = state.values[(seconds >= start) & (seconds <= end), :joints]
        if len(rows):
            largest = max(largest, float(np.nanmax(np.ptp(rows, axis=0))))
    return largest


def _read_facts(images: Sequence[bytes], camera: CameraConfig) -> ImageFacts:
    problems: dict[int, str] = {}
    repeated = np.zeros(len(images), dtype=np.bool_)
    before, hashes = b"", []
    for index in range(len(images)):
        data = images[index]
        repeated[index] = index > 0 and data == before
        problem = image_problem(data, camera.width, camera.height)
        if problem:
            problems[index] = problem
        before = data
        hashes.append(hash(data))
    return ImageFacts(problems=problems, is_repeated=repeated, hashes=tuple(hashes))


def _frame(data: bytes) -> tuple[int, int, int] | None:
    """Width, height and components from the frame header; None where segments make no sense."""
    place = 2
    frame = None
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        (length,) = struct.unpack_from(">H", data, place + 2)
        if marker == 0xDA:
            return frame
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME and place + 10 <= len(data):
            height, width, components = struct.unpack_from(">HHB", data, place + 5)
            frame = (width, height, components)
        place += 2 + length
    return None
