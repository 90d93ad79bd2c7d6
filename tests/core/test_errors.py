import math
from pathlib import Path

import pytest

from ate_core.errors import UsageError, require_not_negative, require_once


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_an_option_below_zero_or_not_finite_is_refused_by_name(value):
    require_not_negative(cap=0.0, shift=3)
    with pytest.raises(UsageError, match=f"optim.warmup is {value}, must be finite and not neg"):
        require_not_negative(**{"cap": 1.0, "optim.warmup": value})


def test_a_folder_that_is_named_twice_is_refused_by_whatever_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    require_once(episodes=(Path("a"), Path("b")), recordings=(Path("a"),))
    with pytest.raises(UsageError, match=r"recordings has .*/a 2 times"):
        require_once(episodes=(), recordings=(Path("a"), tmp_path / "b" / ".." / "a"))
