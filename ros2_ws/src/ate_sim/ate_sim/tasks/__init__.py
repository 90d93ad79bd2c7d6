"""The tasks by name. A new one is one file and one line here; docs/adding_a_task.md shows how."""

from typing import TYPE_CHECKING

from ate_core.registry import Registry

if TYPE_CHECKING:  # the launches read the names; they must not load the physics engine
    from ate_sim.tasks.task import Task

TASKS = Registry(
    what="task",
    group="ate.tasks",
    builtin={
        "pick_place": "ate_sim.tasks.pick_place:PickPlace",
        "handover": "ate_sim.tasks.handover:Handover",
        "pick_bun": "ate_sim.tasks.pick_bun:PickBun",
        "cook_bun": "ate_sim.tasks.cook_bun:CookBun",
        "use_toaster": "ate_sim.tasks.use_toaster:UseToaster",
    },
)


def load_task(name: str) -> "Task":
    """Make the task of this name.

    Raises:
        UsageError: there is no such task.
    """
    task: Task = TASKS.load(name)()
    return task
