"""The latency benchmark: it reads what the nodes tell, and names what is beyond a bound."""

from ate_core.stage_times import DRIVER_STAGES, OPERATOR_STAGES, StageTimes
from benchmarks.teleop_latency import excesses, parse


def told(node: str, what: str, stages: tuple[str, ...], step_ns: int) -> str:
    """A line as the launch prints it; each stage takes so long [ns]."""
    times = StageTimes(stages, 10)
    times.keep(0, {stage: step_ns * (index + 1) for index, stage in enumerate(stages)})
    return f"[{node}] [INFO] [1.5] [node]: from {what}, {times.sentence()}\n"


def test_what_operators_and_drivers_tell_is_read_and_what_is_slow_is_named():
    quick = told("left_operator", "pose to command", OPERATOR_STAGES, 300_000)
    driver = told("left_arm_driver", "command to target", DRIVER_STAGES, 5_000_000)
    slow = told("right_operator", "pose to command", OPERATOR_STAGES, 600_000)
    ways = parse(quick + "[left_operator] something else\n" + driver + slow)
    assert [(way.node, way.count) for way in ways] == [
        ("left_operator", 1), ("left_arm_driver", 1), ("right_operator", 1),
    ]  # fmt: skip
    assert ways[0].stages == dict.fromkeys(OPERATOR_STAGES, (0.3, 0.3)) | {"total": (1.2, 1.2)}
    assert excesses(ways) == [
        "left_arm_driver, filter: median 5.0 ms, p99 5.0 ms; bounds 2 and 10",
        "left_arm_driver, wire: median 5.0 ms, p99 5.0 ms; bounds 2 and 10",
        "left_arm_driver, total: median 15.0 ms, p99 15.0 ms; bounds 12 and 25",
        "right_operator, total: median 2.4 ms, p99 2.4 ms; bounds 2 and 10",
    ]


def test_an_operator_that_told_nothing_is_no_success():
    silent = "[left_operator] from pose to command, median/p99 [ms] of 0: none yet\n"
    assert excesses(parse(silent)) == ["0 of 2 operators told their times"]
