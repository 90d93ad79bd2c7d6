"""Parameters of an arm that may be changed while it runs, to the safe side of the cell only."""

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from arm_driver.arm_guard import ArmGuard
from arm_driver.driver import ArmDriver
from arm_driver.homing import HOME_SPEED
from ate_core.nodes.parameters import declare_number, range_problem

SPEED_SCALE = (0.1, 1.0)
"""Share of the joints' speeds that is allowed."""
SLOWEST_HOME = 0.05
"""Slowest way home [rad/s]."""
WIDEST = 0.2
"""Largest addition to the slow distances [m]."""


class ArmParameters:
    """Declares them and puts changes in force."""

    def __init__(self, node: Node, driver: ArmDriver, guard: ArmGuard) -> None:
        """Declare.

        Args:
            node: node of the driver.
            driver: knows the speed of the way home.
            guard: knows speed scale and distances.
        """
        self._driver, self._guard = driver, guard
        self._ranges = {
            "speed_scale": SPEED_SCALE,
            "home_speed": (SLOWEST_HOME, HOME_SPEED),
            "guard_extra": (0.0, WIDEST),
        }
        low, high = SPEED_SCALE
        self._apply("speed_scale", declare_number(
            node, "speed_scale", 1.0, "share of the joints' largest speeds", low, high
        ))  # fmt: skip
        self._apply("home_speed", declare_number(
            node, "home_speed", HOME_SPEED, "largest joint speed on the way home [rad/s]",
            SLOWEST_HOME, HOME_SPEED,
        ))  # fmt: skip
        self._apply("guard_extra", declare_number(
            node, "guard_extra", 0.0, "added to every slow distance of the cell [m]", 0.0, WIDEST
        ))  # fmt: skip
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._set)

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name in self._ranges:
                low, high = self._ranges[parameter.name]
                problem = range_problem(parameter.name, parameter.value, low, high)
                if problem:
                    return SetParametersResult(successful=False, reason=problem)
        return SetParametersResult(successful=True)

    def _set(self, parameters: list[Parameter]) -> None:
        for parameter in parameters:
            if parameter.name in self._ranges:
                self._apply(parameter.name, float(parameter.value))

    def _apply(self, name: str, value: float) -> None:
        if name == "speed_scale":
            self._guard.speed_scale = value
        elif name == "home_speed":
            self._driver.way_home.speed = value
        elif value != self._guard.extra:
            self._guard.widen(value)
