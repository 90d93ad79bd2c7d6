"""Other bodies for the same world, and motion of experts in bulk."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.arm_model import Embodiment, load_arm_model
from ate_core.contract import Cell, load_cell
from ate_core.errors import UsageError
from ate_sim.env import CellEnv, ExpertPlayer
from ate_sim.motion_plan import ExpertConfig
from ate_sim.world.appearance import USUAL, Appearance
from ate_sim.world.perturbations import Difficulty


def bodies_of(cell: Cell | None = None) -> Mapping[str, Embodiment]:
    """Bodies other than a cell's arms that do its tasks with the same experts, by name.

    They are the variants of the arms' model; a model without variants gives itself.

    Args:
        cell: with two arms of one model; the packaged one when None.

    Raises:
        UsageError: the arms differ.
    """
    models = {arm.model for arm in (cell or load_cell(hardware="sim")).arms.values()}
    if len(models) > 1:
        raise UsageError(
            f"the arms are of the models {', '.join(sorted(models))}; other bodies are made from "
            "two arms of one model: use recordings in place of generated motion"
        )
    model = load_arm_model(models.pop())
    return model.variants or {"as built": Embodiment(name="as built")}


@dataclass(frozen=True, kw_only=True, eq=False)
class FastEpisode:
    """One demonstration from the fast environment, on the ticks of the cell."""

    task: str
    """Name of the task."""
    seed: int
    """Seed of the start and of the aim."""
    state: NDArray[np.float32]
    """Measured vectors (T, n)."""
    action: NDArray[np.float32]
    """Commands (T, n); row k is in force one tick after the state of row k."""
    environment: NDArray[np.float32]
    """Object poses (T, n, 7) in the world."""
    images: dict[str, NDArray[np.uint8]]
    """Camera key to pictures (T, H, W, 3); empty without cameras."""
    success: bool
    """Whether the task was done at the end."""


def generate_motion(
    n_episodes: int,
    seed: int,
    tasks: Sequence[str] = ("pick_place", "handover", "pick_bun"),
    embodiments: Sequence[str] | None = None,
    cell: Cell | None = None,
) -> list[NDArray[np.float32]]:
    """Commands of experts with other bodies, for pre-training.

    Bodies and tasks take turns; starts, aim and pace vary. The commands are not played back:
    a test shows that they do the tasks.

    Args:
        n_episodes: number of episodes.
        seed: of all draws.
        tasks: names of tasks.
        embodiments: names from :func:`bodies_of`; all of them when None.
        cell: whose arms, ticks and layout they are for; the packaged one when None.

    Returns:
        Commanded vectors (T, n) at the tick rate, one array per episode; a joint that the body
        lacks is 0.
    """
    bodies = bodies_of(cell)
    names = tuple(bodies) if embodiments is None else embodiments
    for name in names:
        if name not in bodies:
            raise UsageError(f"embodiment is {name!r}; use one of {', '.join(bodies)}")
    pairs = [(task, name) for task in tasks for name in names]
    if not pairs:
        raise UsageError("no task or no embodiment to generate motion with; name at least one")
    rng = np.random.default_rng(seed)
    episodes: list[NDArray[np.float32]] = [np.empty((0, 0), np.float32)] * n_episodes
    for first, (task, name) in enumerate(pairs[:n_episodes]):
        env = CellEnv(task, cell, embodiment=bodies[name])
        for index in range(first, n_episodes, len(pairs)):
            draw = int(rng.integers(2**31))
            env.reset(draw, "hard" if rng.uniform() < 0.5 else "normal")
            config = ExpertConfig(pace=float(rng.uniform(0.65, 1.0)), aim_noise=0.003)
            player = ExpertPlayer(env, draw, config)
            actions = [player.action(tick) for tick in range(player.ticks)]
            episodes[index] = np.array(actions, dtype=np.float32)
    return episodes


def collect_fast(
    task: str,
    seeds: Iterable[int],
    *,
    config: ExpertConfig | None = None,
    difficulty: Difficulty = "normal",
    cameras: Sequence[str] = (),
    image_size: tuple[int, int] | None = (72, 128),
    embodiment: Embodiment | None = None,
    cell: Cell | None = None,
    looks: Appearance = USUAL,
) -> list[FastEpisode]:
    """Let the expert play a task in the fast environment, one episode per seed.

    Args:
        task: name of the task.
        seeds: of starts and aim.
        config: pace and noise of the expert; 3 mm of aiming noise when None.
        difficulty: spread of the starts.
        cameras: keys of cameras to record.
        image_size: height and width of pictures [pixels]; None: each camera's own.
        embodiment: body of both arms; those of the cell when None.
        cell: the contract; the packaged one when None.
        looks: colours and light.
    """
    config = config or ExpertConfig(aim_noise=0.003)
    env = CellEnv(
        task, cell, embodiment=embodiment, cameras=cameras, image_size=image_size, looks=looks
    )
    episodes = [_play_expert(env, task, seed, config, difficulty, cameras) for seed in seeds]
    env.close()
    return episodes


def _play_expert(
    env: CellEnv,
    task: str,
    seed: int,
    config: ExpertConfig,
    difficulty: Difficulty,
    cameras: Sequence[str],
) -> FastEpisode:
    """One episode of the expert."""
    observation = env.reset(seed, difficulty)
    player = ExpertPlayer(env, seed, config)
    observations, actions = [], []
    for tick in range(player.ticks):
        actions.append(player.action(tick))
        observations.append(observation)
        observation = env.step(actions[-1])
    return FastEpisode(
        task=task,
        seed=seed,
        state=np.stack([entry.state for entry in observations]),
        action=np.array(actions, dtype=np.float32),
        environment=np.stack(
            [entry.environment for entry in observations if entry.environment is not None]
        ),
        images={key: np.stack([entry.images[key] for entry in observations]) for key in cameras},
        success=env.success(),
    )
