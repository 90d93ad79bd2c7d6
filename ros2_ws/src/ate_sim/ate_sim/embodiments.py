"""Other bodies for the same world, and motion of experts in bulk."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.arm_model import Embodiment, load_arm_model
from ate_core.contract import Cell
from ate_core.errors import UsageError
from ate_sim.env import CellEnv, ExpertPlayer
from ate_sim.motion_plan import ExpertConfig
from ate_sim.world.sim_world import Difficulty

EMBODIMENTS = load_arm_model().variants
"""Bodies that do the tasks with the same experts. All have the RM75's wrist."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FastEpisode:
    """One demonstration from the fast environment, on the ticks of the cell."""

    task: str
    """Name of the task."""
    seed: int
    """Seed of the start and of the aim."""
    state: NDArray[np.float32]
    """Measured vectors (T, 16)."""
    action: NDArray[np.float32]
    """Commands (T, 16); row k is in force one tick after the state of row k."""
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
    embodiments: Sequence[str] = tuple(EMBODIMENTS),
    cell: Cell | None = None,
) -> list[NDArray[np.float32]]:
    """Commands of experts with other bodies, for pre-training.

    Bodies and tasks take turns; starts, aim and pace vary. The commands are not played back:
    a test shows that they do the tasks.

    Args:
        n_episodes: number of episodes.
        seed: of all draws.
        tasks: names of tasks.
        embodiments: names from :data:`EMBODIMENTS`.
        cell: whose ticks and layout they are for; the packaged one when None.

    Returns:
        Commanded vectors (T, 16) at the tick rate, one array per episode; a joint that the body
        lacks is 0.
    """
    for name in embodiments:
        if name not in EMBODIMENTS:
            raise UsageError(f"embodiment is {name!r}; use one of {', '.join(EMBODIMENTS)}")
    pairs = [(task, name) for task in tasks for name in embodiments]
    if not pairs:
        raise UsageError("no task or no embodiment to generate motion with; name at least one")
    rng = np.random.default_rng(seed)
    episodes: list[NDArray[np.float32]] = [np.empty((0, 0), np.float32)] * n_episodes
    for first, (task, name) in enumerate(pairs[:n_episodes]):
        env = CellEnv(task, cell, embodiment=EMBODIMENTS[name])
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
) -> list[FastEpisode]:
    """Let the expert play a task in the fast environment, one episode per seed.

    Args:
        task: name of the task.
        seeds: of starts and aim.
        config: pace and noise of the expert; 3 mm of aiming noise when None.
        difficulty: spread of the starts.
        cameras: keys of cameras to record.
        image_size: height and width of pictures [pixels]; None: each camera's own.
        embodiment: body of both arms; the RM75-6F when None.
    """
    config = config or ExpertConfig(aim_noise=0.003)
    env = CellEnv(task, embodiment=embodiment, cameras=cameras, image_size=image_size)
    episodes = []
    for seed in seeds:
        observation = env.reset(seed, difficulty)
        player = ExpertPlayer(env, seed, config)
        observations, actions = [], []
        for tick in range(player.ticks):
            actions.append(player.action(tick))
            observations.append(observation)
            observation = env.step(actions[-1])
        episodes.append(
            FastEpisode(
                task=task,
                seed=seed,
                state=np.stack([entry.state for entry in observations]),
                action=np.array(actions, dtype=np.float32),
                environment=np.stack(
                    [entry.environment for entry in observations if entry.environment is not None]
                ),
                images={
                    key: np.stack([entry.images[key] for entry in observations]) for key in cameras
                },
                success=env.success(),
            )
        )
    env.close()
    return episodes
