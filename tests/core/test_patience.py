import logging

from ate_core.patience import Patience, Repeated


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def levels(caplog):
    return [(record.levelname, record.message) for record in caplog.records]


def test_a_device_that_comes_up_late_is_a_wait_and_no_alarm(caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    patience = Patience(logging.getLogger("device"), "the arm", 10.0, clock)
    for clock.now in (0.0, 1.0, 2.0):
        patience.trouble("does not answer: check power")
    patience.well("connected")
    assert levels(caplog) == [("INFO", "waiting for the arm"), ("INFO", "connected")]
    for clock.now in (13.0, 13.1):
        patience.trouble("cable cut")
    assert levels(caplog)[2:] == [("WARNING", "cable cut")], "from now on at once, and once"
    patience.well("connected")
    patience.trouble("cable cut")
    assert len(caplog.records) == 5


def test_a_device_that_stays_away_is_told_once_the_start_is_over(caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    patience = Patience(logging.getLogger("device"), "the arm", 10.0, clock)
    for clock.now in (0.0, 9.9, 10.1, 11.0):
        patience.trouble("does not answer: check power")
    assert levels(caplog) == [
        ("INFO", "waiting for the arm"),
        ("WARNING", "does not answer: check power"),
    ]


def test_one_late_message_is_no_trouble_and_several_are():
    late = Repeated(count=3, window=1.0)
    assert [late.happened(now) for now in (0.0, 0.8, 1.6, 1.7, 1.8)] == [
        *(False, False, False),
        *(True, True),
    ]
