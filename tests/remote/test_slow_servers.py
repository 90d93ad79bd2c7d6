"""A server that is too slow for its deadline never counts as ready."""

import logging
import threading

import numpy as np
import pytest
import torch

from ate_core.errors import LinkError, UsageError
from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig
from ate_policy.policy import Policy
from ate_policy.remote.latency import deadline_finding
from ate_policy.transforms import ChunkTransform

from .conftest import CELL, SEEN, Asked, linked, scripted, served


@pytest.mark.parametrize(
    ("answer", "deadline", "status", "remedy"),
    [
        (0.05, 0.8, None, ""),
        (0.6, 0.8, None, ""),
        (0.7, 0.8, "warn", "give policy_deadline_ms:=940, or serve it from a faster machine"),
        (0.8, 0.8, "fail", "give policy_deadline_ms:=1070, or"),
        (1.3, 0.8, "fail", "give policy_deadline_ms:=1740, or"),
        (3.2, 0.8, "fail", "give policy_deadline_ms:=4000, or"),
        (3.2, 4.0, "warn", ": serve it from a faster machine, or serve a smaller policy"),
        (4.0, 0.8, "fail", ": serve it from a faster machine, or serve a smaller policy"),
        (9.0, 4.0, "fail", ": serve it from a faster machine, or serve a smaller policy"),
    ],
)
def test_a_server_too_slow_for_its_deadline_is_told_with_both_and_a_deadline_that_helps(
    answer, deadline, status, remedy
):
    slow = deadline_finding(answer, deadline)
    assert (slow and slow.status) == status
    if slow is not None:
        assert f"takes {1e3 * answer:.0f} ms per chunk" in slow.text
        assert f"policy_deadline_ms is {1e3 * deadline:.0f}" in slow.text
        assert remedy in slow.text


def test_a_timeout_says_what_follows_and_which_argument_lengthens_it(policy):
    async def say_nothing(*_):
        pass

    with scripted(policy, say_nothing) as address:
        with linked(address, answer=0.1) as remote:
            words = r"within 0\.1 s: the arms hold, it is asked again; .* policy_deadline_ms:="
            with pytest.raises(LinkError, match=words):
                remote.infer(SEEN)
        with (
            linked(address, patience=0.1) as remote,
            pytest.raises(LinkError, match=r"within 0\.1 s: restart it"),
        ):
            remote.try_out(SEEN)


@pytest.fixture
def slow(policy):
    """A policy without cameras that takes 0.1 s for a chunk."""
    torch.manual_seed(0)
    transform = ChunkTransform(policy.statistics)
    model = FlowPolicy(FlowPolicyConfig(objects=0))
    blind = Policy("flow", model, transform, CELL.canonical_text(), {})

    def infer(*_):
        threading.Event().wait(0.1)
        return np.tile(SEEN.state, (20, 1))

    return Asked(blind, infer)


@pytest.mark.ros
def test_a_node_refuses_a_server_that_is_too_slow_before_it_is_ready(
    slow, node_environment, caplog
):
    import rclpy

    from ate_policy.nodes.policy_node import PolicyNode

    caplog.set_level(logging.INFO, "policy")

    def start(address, deadline):
        given = {"policy_server": address, "policy_deadline_ms": deadline, "hardware": "sim"}
        words = [word for key, value in given.items() for word in ("-p", f"{key}:={value}")]
        rclpy.init(args=["--ros-args", *words])
        try:
            node = PolicyNode()
            node.halt()
            node.destroy_node()
        finally:
            rclpy.try_shutdown()

    with served(slow) as address:
        start(address, 4000)
        assert caplog.text.count("policy ready") == 1
        words = r"takes \d+ ms per chunk, policy_deadline_ms is 50: give policy_deadline_ms:="
        with pytest.raises(UsageError, match=words):
            start(address, 50)
    assert caplog.text.count("policy ready") == 1


@pytest.mark.ros
def test_a_server_that_is_hardly_in_time_is_warned_of_and_a_network_here_has_no_deadline(caplog):
    pytest.importorskip("rclpy")
    from ate_policy.nodes.server_options import ServerOptions

    rest = {"token_file": "", "keys_file": "", "deadline_ms": 800}
    ServerOptions(address="", **rest).require_in_time(9.0)
    assert not caplog.text
    ServerOptions(address="ws://x", **rest).require_in_time(0.7)
    assert "takes 700 ms per chunk, policy_deadline_ms is 800" in caplog.text
