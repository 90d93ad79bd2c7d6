"""From our process list to a ROS launch description; used by the ``.launch.py`` files."""

import sys
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from ate_bringup.launches import LAUNCHES
from ate_bringup.preflight import refuse_to_launch
from ate_bringup.specs import LaunchArgument, ProcessSpec


def make_launch_description(name: str) -> LaunchDescription:
    """Launch description of the launch called ``name``."""
    launch = LAUNCHES[name]

    def start(context: LaunchContext) -> list[Any]:
        given = {
            argument.name: LaunchConfiguration(argument.name).perform(context)
            for argument in launch.arguments
        }
        refuse_to_launch(launch, launch.resolve(given))
        return [_action(spec) for spec in launch.processes(given)]

    declared = [_declare(argument) for argument in launch.arguments]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def _declare(argument: LaunchArgument) -> DeclareLaunchArgument:
    options: dict[str, Any] = {"description": argument.description}
    if argument.default is not None:
        options["default_value"] = argument.default
    if argument.choices:
        options["choices"] = list(argument.choices)
    return DeclareLaunchArgument(argument.name, **options)


def _action(spec: ProcessSpec) -> ExecuteProcess:
    shared: dict[str, Any] = {
        "name": spec.name,
        "output": "screen",
        "additional_env": dict(spec.environment),
        "respawn": spec.respawn,
        "respawn_delay": 1.0,
    }
    if spec.ends_launch:
        shared["on_exit"] = [Shutdown(reason=f"{spec.name} has finished")]
    if not spec.is_node:
        command = [sys.executable, "-m", spec.module, *spec.arguments]
        return ExecuteProcess(cmd=command, **shared)
    return Node(
        package=spec.package,
        executable=spec.executable,
        namespace=spec.namespace or None,
        parameters=[{name: _as_text(value) for name, value in spec.parameters.items()}],
        remappings=list(spec.remappings.items()),
        arguments=list(spec.arguments),
        **shared,
    )


def _as_text(value: str | bool) -> Any:
    """Keep text as it is: launch_ros would read it as YAML, and `3` or `put it: down` change."""
    return ParameterValue(value, value_type=str) if isinstance(value, str) else value
