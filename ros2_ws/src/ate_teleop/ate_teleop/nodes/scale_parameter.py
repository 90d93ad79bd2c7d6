"""The parameter ``scale`` of an operator: what the buttons change, too."""

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from ate_core.nodes.parameters import declare_number, range_problem
from ate_teleop.operator import SCALES, OperatorController

NAME = "scale"


class ScaleParameter:
    """Puts changes of the parameter in force, and shows those of the buttons in it."""

    def __init__(self, node: Node, controller: OperatorController) -> None:
        """Declare it with the cell's value."""
        self._node, self._controller = node, controller
        what = "tool metres per hand metre from the next press of the clutch on"
        controller.scale = declare_number(node, "scale", controller.scale, what, *SCALES)
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._set)

    def follow(self) -> None:
        """Show what the buttons have made of it."""
        scale = self._controller.scale
        if scale != self._node.get_parameter(NAME).value:
            self._node.set_parameters([Parameter(NAME, value=scale)])

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        problems = [
            range_problem(NAME, one.value, *SCALES) for one in parameters if one.name == NAME
        ]
        reason = "; ".join(filter(None, problems))
        return SetParametersResult(successful=not reason, reason=reason)

    def _set(self, parameters: list[Parameter]) -> None:
        for one in parameters:
            if one.name == NAME:
                self._controller.scale = float(one.value)
