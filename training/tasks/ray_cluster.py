"""A Ray cluster: the same function on many machines, which see the same folders.

``RAY_ADDRESS`` names an existing cluster; without it Ray starts one on this machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ate_core.errors import UsageError
from training.tasks.engine import ATTEMPTS, Done, Item, Result, describe


class RayCluster:
    """Runs items as Ray tasks; Ray gives those of a lost worker to another one.

    Args:
        jobs: Tasks submitted at the same time.

    Raises:
        UsageError: Ray is not installed.
    """

    def __init__(self, jobs: int) -> None:
        try:
            import ray
        except ImportError:
            raise UsageError(
                "--engine ray needs Ray: pip install 'ate-stack[ray]', or use --engine local"
            ) from None
        self._ray: Any = ray
        self._jobs = jobs

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[Done[Item, Result]]:
        """Yield one `Done` per item, as they are done."""
        if not self._ray.is_initialized():
            self._ray.init(log_to_driver=False, include_dashboard=False)
        task = self._ray.remote(max_retries=ATTEMPTS - 1)(_call)
        waiting = deque(items)
        held: dict[Any, Item] = {}
        try:
            while waiting or held:
                while waiting and len(held) < self._jobs:
                    item = waiting.popleft()
                    held[task.remote(function, item)] = item
                for reference in self._ray.wait(list(held))[0]:
                    yield self._done(held.pop(reference), reference)
        finally:
            for reference in held:
                self._ray.cancel(reference, force=True)

    def _done(self, item: Item, reference: Any) -> Done[Item, Any]:
        try:
            return Done(item=item, result=self._ray.get(reference))
        except self._ray.exceptions.RayTaskError as error:
            return Done(item=item, failure=describe(error.cause))
        except self._ray.exceptions.RayError as error:
            return Done(
                item=item, failure=f"its worker was lost {ATTEMPTS} times ({describe(error)})"
            )


def _call(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)
