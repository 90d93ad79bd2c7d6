import math

import pytest

from ate_core.errors import UsageError, require_not_negative


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_an_option_below_zero_or_not_finite_is_refused_by_name(value):
    require_not_negative(cap=0.0, shift=3)
    with pytest.raises(UsageError, match=f"optim.warmup is {value}, must be finite and not neg"):
        require_not_negative(**{"cap": 1.0, "optim.warmup": value})
