"""The tasks by name."""

from collections.abc import Callable

from ate_core.errors import UsageError
from ate_sim.tasks.cook_bun import CookBun
from ate_sim.tasks.handover import Handover
from ate_sim.tasks.pick_bun import PickBun
from ate_sim.tasks.pick_place import PickPlace
from ate_sim.tasks.task import Task
from ate_sim.tasks.use_toaster import UseToaster

TASKS: dict[str, Callable[[], Task]] = {
    PickPlace.name: PickPlace,
    Handover.name: Handover,
    PickBun.name: PickBun,
    CookBun.name: CookBun,
    UseToaster.name: UseToaster,
}


def load_task(name: str) -> Task:
    """Make the task of this name.

    Raises:
        UsageError: there is no such task.
    """
    if name not in TASKS:
        raise UsageError(f"task is {name!r}; use one of {', '.join(TASKS)}")
    return TASKS[name]()
