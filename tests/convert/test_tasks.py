"""Work on many things: whatever becomes of one, the others are done and each is named."""

import functools
import os
import signal
from pathlib import Path

import pytest

from ate_core.errors import UsageError
from training.tasks.choose import make_engine


def work(item, marks):
    """Double a number; three of them meet with an accident."""
    if item == 1:
        raise ZeroDivisionError("one of those days")
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if item == 3:
        mark = Path(marks) / "seen"
        if not mark.exists():
            mark.touch()
            os._exit(7)  # the first worker only
    return 2 * item


def test_a_worker_that_dies_costs_at_most_its_item(tmp_path):
    items = [0, 1, 2, 3, 4, 5]
    function = functools.partial(work, marks=str(tmp_path))
    done = {one.item: one for one in make_engine("local", 2).run(function, items)}
    assert sorted(done) == items
    assert {item: one.result for item, one in done.items() if not one.failure} == {
        0: 0, 3: 6, 4: 8, 5: 10,
    }  # fmt: skip
    assert done[1].failure == "ZeroDivisionError: one of those days"
    assert "ended by SIGKILL, 2 times" in done[2].failure


def test_an_exception_costs_its_item_in_this_process_too(tmp_path):
    function = functools.partial(work, marks=str(tmp_path))
    done = list(make_engine("local", 1).run(function, [0, 1, 4]))
    assert [one.result for one in done] == [0, None, 8]


def test_a_run_that_is_left_ends_its_workers():
    run = make_engine("local", 2).run(os.path.basename, ["a", "b", "c"])
    assert next(run).result in ("a", "b")
    run.close()


def test_ray_that_is_not_there_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UsageError, match=r"ate-stack\[ray\]"):
        make_engine("ray", 2)
