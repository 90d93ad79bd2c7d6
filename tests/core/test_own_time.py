"""Nodes live by the host's clock: another one is refused at the start and later."""

import pytest

rclpy = pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

from rclpy.parameter import Parameter  # noqa: E402

from ate_core.errors import UsageError  # noqa: E402
from ate_core.nodes.parameters import declare_cell, keep_own_time  # noqa: E402


@pytest.fixture
def make_node(empty_domain):
    nodes = []

    def make(*words):
        rclpy.init(args=["--ros-args", *words])
        nodes.append(rclpy.create_node("arm"))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()


def test_a_node_that_is_started_with_the_clock_of_others_says_what_it_needs(make_node):
    node = make_node("-p", "use_sim_time:=true")
    with pytest.raises(UsageError, match="use_sim_time of /arm is true; need false: timers"):
        declare_cell(node)


@pytest.mark.parametrize("words", [(), ("-p", "use_sim_time:=false")])
def test_a_node_that_runs_keeps_its_clock(make_node, words):
    node = make_node(*words)
    keep_own_time(node)
    (result,) = node.set_parameters([Parameter("use_sim_time", value=True)])
    assert not result.successful and "need false" in result.reason
    assert not node.get_clock().ros_time_is_active
    assert [s.topic_name for s in node.subscriptions if s.topic_name == "/clock"] == []
    (result,) = node.set_parameters([Parameter("use_sim_time", value=False)])
    assert result.successful


@pytest.mark.parametrize(
    "module", ["cell_monitor.nodes.monitor_node", "cell_monitor.nodes.estop_node"]
)
def test_a_process_with_the_clock_of_others_ends_with_one_line(
    module, node_environment, start_module
):
    process = start_module(module, "--ros-args", "-p", "use_sim_time:=true")
    _, told = process.communicate(timeout=60.0)
    assert process.returncode == 1
    assert "error: parameter use_sim_time of /" in told and "Traceback" not in told
