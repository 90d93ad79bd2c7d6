"""Draw the pictures of the pages from the simulated cell: docs/pictures/.

python tools/make_pictures.py                                  # the cell, both operators at work
python tools/make_pictures.py --report runs/demo/report.html   # that report, seen by Chromium

The scripted expert whose way the operators' hands follow plays one episode in process. What the
hands ask of the tools is drawn as a frame and a trail, orange for the left and blue for the right
operator; the column on the right shows what the three cameras see and the recorder keeps.
"""

import argparse
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ate_core.contract import SIDES, Side
from ate_sim.env import CellEnv, ExpertPlayer
from ate_sim.world.engine import mujoco

Picture = NDArray[np.uint8]
Array = NDArray[np.float64]

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
TASK, SEED = "cook_bun", 3
COLOURS: dict[Side, tuple[float, float, float]] = {
    "left": (0.95, 0.48, 0.10),
    "right": (0.10, 0.45, 0.90),
}
TRAIL_TICKS = 30
SUPERSAMPLING = 2
"""Drawn larger and reduced: the software renderer has no smooth edges."""
FILM_SIZE, FILM_STRIDE, FILM_SPEED = (720, 432), 2, 1.5
STILL_SIZE, STILL_TICK = (1440, 810), 142
LARGEST = 3_000_000
"""Most bytes of the cell's pictures together, so that the front page loads quickly."""


class Studio:
    """A view of a world with light, shadows and a bright floor, apart from the cell's cameras."""

    def __init__(self, env: CellEnv, size: tuple[int, int]) -> None:
        self._env, self._size = env, size
        model = env.world.model
        width, height = (side * SUPERSAMPLING for side in size)
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        model.vis.global_.fovy = 30.0
        # Coarser shadow maps, or a nearer far plane, stripe the table with its own shadow.
        model.vis.quality.shadowsize, model.vis.map.zfar = 8192, 600.0
        model.vis.headlight.ambient[:] = 0.42
        model.vis.headlight.diffuse[:] = 0.22
        model.light_castshadow[:] = True
        model.light_dir[0] = np.array([-0.28, 0.2, -0.94])
        model.light_diffuse[0] = 0.45
        model.geom("floor").size[:] = (0.0, 0.0, 0.1)  # no edge in sight
        model.geom("floor").rgba[:] = (0.86, 0.88, 0.90, 1.0)
        model.geom("table").rgba[:] = (0.68, 0.64, 0.60, 1.0)
        self._renderer = mujoco.Renderer(model, height, width)
        self._camera = mujoco.MjvCamera()
        self._camera.lookat[:] = (0.19, 0.0, 0.15)
        self._camera.azimuth, self._camera.elevation, self._camera.distance = 142.0, -27.0, 2.3

    def shoot(self, hands: dict[Side, deque[Array]]) -> Image.Image:
        """Picture of the world as it is, with the trail of each hand (4x4, the newest last)."""
        self._renderer.update_scene(self._env.world.data, camera=self._camera)
        for side, poses in hands.items():
            self._draw_trail(side, poses)
        image = Image.fromarray(self._renderer.render())
        image = image.resize(self._size, Image.Resampling.LANCZOS)
        self._write_legend(image)
        return image

    def _write_legend(self, image: Image.Image) -> None:
        draw = ImageDraw.Draw(image)
        size = image.height // 28
        font = ImageFont.load_default(size=size)
        for row, side in enumerate(SIDES):
            x, y = size, (1.0 + 1.5 * row) * size
            colour = tuple(round(200 * value) for value in COLOURS[side])
            draw.line((x, y + 0.6 * size, x + 2 * size, y + 0.6 * size), colour, size // 4)
            draw.text((x + 2.5 * size, y), f"{side} operator's hand", fill=(40, 44, 50), font=font)

    def _draw_trail(self, side: Side, poses: deque[Array]) -> None:
        points = [pose[:3, 3] for pose in poses]
        for age, (start, end) in enumerate(itertools.pairwise(points)):
            fade = (age + 1) / len(points)
            self._stick(start, end, 0.005, (*COLOURS[side], fade))
        rotation = poses[-1][:3, :3]
        for axis, colour in enumerate(((0.85, 0.1, 0.1), (0.1, 0.65, 0.15), (0.1, 0.2, 0.85))):
            self._stick(points[-1], points[-1] + 0.07 * rotation[:, axis], 0.004, (*colour, 1.0))

    def _stick(self, start: Array, end: Array, radius: float, rgba: tuple[float, ...]) -> None:
        scene = self._renderer.scene
        if scene.ngeom == scene.maxgeom or np.linalg.norm(end - start) < 1e-6:
            return
        geom = scene.geoms[scene.ngeom]
        kind = mujoco.mjtGeom.mjGEOM_CAPSULE
        mujoco.mjv_initGeom(
            geom, kind, np.zeros(3), np.zeros(3), np.eye(3).ravel(), np.array(rgba, np.float32)
        )
        mujoco.mjv_connector(geom, kind, radius, start, end)
        scene.ngeom += 1


def episode(env: CellEnv) -> Iterator[dict[Side, deque[Array]]]:
    """Play the expert's episode; yields after each tick where the hands have been lately."""
    env.reset(SEED)
    player = ExpertPlayer(env, SEED)
    hands: dict[Side, deque[Array]] = {side: deque(maxlen=TRAIL_TICKS) for side in SIDES}
    for tick in range(player.ticks):
        env.step(player.action(tick))
        for side in SIDES:
            pose, _ = player.expert.tool_target(side, tick * env.period)
            hands[side].append(np.asarray(pose))
        yield hands
    if not env.success():
        sys.exit(f"the expert failed at {TASK} from seed {SEED}: choose another seed")


def draw_cell() -> Path:
    """A still in mid-episode."""
    env = CellEnv(TASK)
    studio = Studio(env, STILL_SIZE)
    for tick, hands in enumerate(episode(env)):
        if tick == STILL_TICK:
            path = FOLDER / "cell.webp"
            studio.shoot(hands).save(path, quality=88, method=6)
            return path
    raise AssertionError("the episode is shorter than its picture")


def draw_film() -> Path:
    """The whole episode beside the pictures of the cameras."""
    env = CellEnv(TASK)
    studio = Studio(env, FILM_SIZE)
    frames = [
        beside(studio.shoot(hands), camera_pictures(env))
        for tick, hands in enumerate(episode(env))
        if tick % FILM_STRIDE == 0
    ]
    path = FOLDER / "operators.webp"
    duration = round(1000 * FILM_STRIDE * env.period / FILM_SPEED)
    frames[0].save(
        path,
        save_all=True,
        append_images=frames[1:],
        duration=[duration] * (len(frames) - 1) + [1500],
        loop=0,
        quality=70,
        method=4,
    )
    return path


def camera_pictures(env: CellEnv) -> list[tuple[str, Picture]]:
    """Role and image of every camera of the cell."""
    height = FILM_SIZE[1] // len(env.cell.cameras)
    width = height * 16 // 9
    return [
        (role.replace("_", " "), env.render(camera.key, height, width))
        for role, camera in env.cell.cameras.items()
    ]


def beside(view: Image.Image, pictures: list[tuple[str, Picture]]) -> Image.Image:
    """The view, and the named pictures in a column on its right."""
    height, width = pictures[0][1].shape[:2]
    whole = Image.new("RGB", (view.width + width, view.height), "white")
    whole.paste(view, (0, 0))
    draw = ImageDraw.Draw(whole)
    font = ImageFont.load_default(size=13)
    for row, (name, picture) in enumerate(pictures):
        place = (view.width, row * height)
        whole.paste(Image.fromarray(picture), place)
        draw.text((place[0] + 7, place[1] + 5), name, fill="white", font=font)
    return whole


def draw_report(report: Path) -> Path:
    """A picture of the top of a report, by a headless Chromium."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no Chromium found: apt-get install chromium")
    path = FOLDER / "report.webp"
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "report.png"
        subprocess.run(
            [
                *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--user-data-dir={folder}/profile", "--window-size=1000,1180"),
                *(f"--screenshot={shot}", "--virtual-time-budget=5000"),
                report.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        Image.open(shot).convert("RGB").save(path, quality=85, method=6)
    return path


def main() -> None:
    """Draw what is asked for and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, help="draw this report instead of the cell")
    report = parser.parse_args().report
    FOLDER.mkdir(parents=True, exist_ok=True)
    paths = [draw_report(report)] if report else [draw_cell(), draw_film()]
    for path in paths:
        print(f"{path} {path.stat().st_size / 1e3:.0f} kB")
    if sum(path.stat().st_size for path in paths) > LARGEST:
        sys.exit(f"together more than {LARGEST / 1e6:.0f} MB: lower size or quality")


if __name__ == "__main__":
    main()
