"""The tasks by name."""

from ate_core.errors import UsageError



from ate_sim.tasks.pick_place import PickPlace
from ate_sim.tasks.task import Task


TASKS: dict[str, type[Task]] = {
    task.name: task for task in (PickPlace,)
}


def load_task(name: str) -> Task:
    """Make the task of this name.

    Raises:
        UsageError: there is no such task.
    """
    if name not in TASKS:
        raise UsageError(f"task is {name!r}; use one of {', '.join(TASKS)}")
    return TASKS[name]()
