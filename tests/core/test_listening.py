"""A message with bad values is refused and told; an error of the program ends its process."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest

pytest.importorskip("rclpy")

from rclpy.subscription import Subscription

from ate_core.errors import LayoutError
from ate_core.nodes.listening import guarded


def raising(error: BaseException):
    def take(message) -> None:
        raise error

    return take


@pytest.mark.parametrize(
    "error",
    [ValueError("nanosec"), KeyError("joint 3"), IndexError(7), OverflowError(), LayoutError("x")],
)
def test_a_message_with_bad_values_is_dropped_and_told_once(error) -> None:
    log = Mock()
    take = guarded(SimpleNamespace(get_logger=lambda: log), "/left/states", raising(error))
    for _ in range(5):
        take("message")
    assert log.error.call_count == 1
    assert "/left/states" in log.error.call_args[0][0]


@pytest.mark.parametrize("error", [NameError("qq"), TypeError(), AssertionError(), OSError()])
def test_an_error_of_the_program_is_not_taken_for_a_bad_message(error) -> None:
    with pytest.raises(type(error)):
        guarded(Mock(), "/left/states", raising(error))("message")


def test_ros_still_sees_who_wants_the_message_information() -> None:
    def both(message, info) -> None: ...

    def one(message) -> None: ...

    kinds = Subscription.CallbackType
    for take, kind in ((one, kinds.MessageOnly), (both, kinds.WithMessageInfo)):
        seen = SimpleNamespace()
        Subscription.callback.fset(seen, guarded(Mock(), "/left/states", take))
        assert seen._callback_type is kind
