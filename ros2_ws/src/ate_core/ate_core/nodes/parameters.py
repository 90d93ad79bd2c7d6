"""Parameters that every node has."""

from collections.abc import Sequence

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from ate_core.contract import Cell, load_cell
from ate_core.errors import UsageError

USE_SIM_TIME = "use_sim_time"
"""Parameter that every ROS node has: whether it lives by the topic /clock."""
_FOREIGN_CLOCK = (
    "timers that watch the arms would stand or jump with /clock; the simulated cell "
    "runs in real time and needs none"
)


def declare_cell(node: Node) -> Cell:
    """Declare the parameters ``cell`` and ``hardware`` and load the cell they name.

    Raises:
        UsageError: the node shall live by the clock of others.
        ContractError: the cell is refused.
    """
    keep_own_time(node)
    path = declare_text(node, "cell", "", "cell.yaml to load; empty: the packaged one")
    hardware = declare_text(
        node, "hardware", "real", "real devices, or sim: the emulated ones", ("real", "sim")
    )
    return load_cell(path or None, hardware)  # type: ignore[arg-type]


def keep_own_time(node: Node) -> None:
    """Refuse the clock of others, now and later: timers that watch the arms would stand with it.

    Raises:
        UsageError: the node was started with it.
    """

    def refuse(parameters: Sequence[Parameter]) -> SetParametersResult:
        if any(one.name == USE_SIM_TIME and one.value is True for one in parameters):
            return SetParametersResult(successful=False, reason=f"need false: {_FOREIGN_CLOCK}")
        return SetParametersResult(successful=True)

    if node.get_parameter(USE_SIM_TIME).value is True:
        raise UsageError(
            f"parameter use_sim_time of {node.get_fully_qualified_name()} is true; need false: "
            f"{_FOREIGN_CLOCK}"
        )
    node.add_on_set_parameters_callback(refuse)


def declare_text(
    node: Node, name: str, default: str, description: str, choices: tuple[str, ...] = ()
) -> str:
    """Declare a read-only string parameter and return its value.

    Raises:
        UsageError: the value is not one of ``choices``.
    """
    constraint = f"one of {', '.join(choices)}" if choices else ""
    descriptor = ParameterDescriptor(
        description=description, read_only=True, additional_constraints=constraint
    )
    value = str(node.declare_parameter(name, default, descriptor).value)
    if choices and value not in choices:
        raise UsageError(
            f"parameter {name} of {node.get_fully_qualified_name()} is {value!r}; "
            f"need {constraint}"
        )
    return value


def declare_number(
    node: Node, name: str, default: float, description: str, low: float, high: float
) -> float:
    """Declare a number that may be changed while the node runs, and return its value.

    Raises:
        UsageError: the value is outside its range.
    """
    descriptor = ParameterDescriptor(
        description=description,
        floating_point_range=[
            FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
        ],
        dynamic_typing=True,  # `1` is a number, too
    )
    value = node.declare_parameter(name, default, descriptor).value
    problem = range_problem(f"parameter {name}", value, low, high)
    if problem:
        raise UsageError(f"{problem} ({node.get_fully_qualified_name()})")
    return float(value)


def range_problem(name: str, value: object, low: float, high: float) -> str:
    """Why a value is not a number within its range; empty when it is."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
        return ""  # not a number is outside every range
    return f"{name} is {value!r}; need a number from {low:g} to {high:g}"
