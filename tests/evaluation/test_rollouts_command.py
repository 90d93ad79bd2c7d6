"""`ate rollouts`."""

import pytest

from ate_core.errors import UsageError
from training.rollouts import RolloutsConfig, rollouts


def test_the_table_says_how_many_rollouts_are_needed(capsys):
    assert rollouts(RolloutsConfig(first=0.5, second=0.9, rollouts=20)) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "50 against 90 %: exact McNemar finds it with 80 % │ 25" in text
    assert "exact McNemar finds it with 69 % │ 20" in text


def test_a_difference_that_rollouts_cannot_show_is_said(capsys):
    assert rollouts(RolloutsConfig(first=0.6, second=0.605)) == 0
    assert "more than 20000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({"second": 0.5}, "first and second are both 0.5"),
        ({"second": 0.7, "power": 1.0}, "power is 1.0"),
        ({"second": 0.7, "rollouts": 0}, "rollouts is 0"),
        ({"second": 70.0}, "second is 70.0, a rate must lie in 0 to 1"),
    ],
)
def test_arguments_that_cannot_work_are_refused(words, what):
    with pytest.raises(UsageError, match=what):
        RolloutsConfig(first=0.5, **words)
