"""What the scripted people are told: new scenes, and plans from what is seen."""

from ate_core.contract import Cell
from ate_sim.experts import Expert
from ate_sim.people.view import WorldView
from ate_sim.realtime.control import SimControl
from ate_sim.tasks import load_task
from ate_sim.world.sim_world import SimWorld


class SimDirector:
    """Resets the world over its control socket and plans in a private copy of it."""

    def __init__(
        self, task: str, difficulty: str, cell: Cell, control: SimControl, view: WorldView
    ) -> None:
        self._task = task
        self._difficulty = difficulty
        self._control = control
        self._view = view
        self._todo = load_task(task)
        self._copy = SimWorld(self._todo, cell=cell)

    def reset(self, seed: int) -> int:
        """Place the objects of this seed; returns the epoch in which they stand."""
        state = self._control.reset(task=self._task, seed=seed, difficulty=self._difficulty)
        return int(str(state["epoch"]))

    def plan(self, seed: int) -> Expert:
        """Plan from the state of the world that is seen now."""
        self._copy.load_physics_state(self._view.physics_state)
        return Expert(self._todo, self._copy, seed)
