"""What the rows of distances are shown of the other arm."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from ate_core.contract import load_cell
from ate_teleop.nodes import feedback

pytestmark = pytest.mark.ros


def test_the_other_arm_is_shown_once_a_measurement_and_its_silence_too(monkeypatch):
    first, second = np.zeros(7), np.ones(7)
    heard = iter([None, first, first, second, None, None])
    topics, seen = [], []

    def arm(node, topic, names, timeout):
        topics.append(topic)
        return SimpleNamespace(poll=lambda now_ns: next(heard))

    monkeypatch.setattr(feedback, "ArmFeedback", arm)
    rows = SimpleNamespace(see_other=lambda q, now: seen.append((q, now)))
    other = feedback.OtherFeedback(None, load_cell(), "left", rows)
    for tick in range(6):
        other.poll(tick * 1_000_000_000)
    assert topics == ["/right/arm/joint_states"]
    assert [now for _, now in seen] == [1.0, 3.0, 4.0]
    assert seen[0][0] is first
    assert seen[1][0] is second
    assert seen[2][0] is None
