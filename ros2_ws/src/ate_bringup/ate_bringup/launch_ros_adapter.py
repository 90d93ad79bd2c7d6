"""From our process list to a ROS launch description; used by the ``.launch.py`` files."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnShutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from ate_bringup.launch_command import parse_arguments
from ate_bringup.launches import CELL_FILES, LAUNCHES
from ate_bringup.preflight import refuse_to_launch
from ate_bringup.restarts import Restarts
from ate_bringup.specs import Launch, LaunchArgument, ProcessSpec
from ate_core.child import child_command, child_environment
from ate_core.errors import AteError

OF_THE_TOOL = ("launch-prefix", "launch-prefix-filter")
"""Arguments that `ros2 launch` makes of options of its own."""


class LaunchFailed(AteError):
    """A process has failed, so the launch ends with 1."""


class _Failures:
    """What has failed; raised while the launch ends, since only an error gives it a code."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def take(self, text: str) -> None:
        """Count the launch as failed."""
        self._texts.append(text)

    def tell(self, event: Any, context: LaunchContext) -> None:
        """Raise what has failed, once: launch tells it, and may begin its shutdown anew."""
        texts, self._texts = self._texts, []
        if texts:
            raise LaunchFailed("; ".join(texts))


def make_launch_description(name: str) -> LaunchDescription:
    """Launch description of the launch called ``name``."""
    launch = LAUNCHES[name]

    def start(context: LaunchContext) -> list[Any]:
        if is_named(launch, sys.argv):
            refuse_unknown_words(launch, context.argv)
        given = {
            argument.name: LaunchConfiguration(argument.name).perform(context)
            for argument in launch.arguments
        }
        refuse_to_launch(launch, launch.resolve(given))
        return [_action(spec, Restarts(spec), failures) for spec in launch.processes(given)]

    failures = _Failures()
    # Launch asks the newest handlers first: before this one, all processes are told to end.
    at_end = RegisterEventHandler(OnShutdown(on_shutdown=failures.tell))
    declared = [_declare(argument) for argument in launch.arguments]
    return LaunchDescription([at_end, *declared, OpaqueFunction(function=start)])


def is_named(launch: Launch, command_line: Sequence[str]) -> bool:
    """Whether a command line names the file of a launch; else somebody's own file includes it."""
    files = {
        launch.file,
        *(f"{name}.launch.py" for name, one in CELL_FILES.items() if one is launch),
    }
    return any(Path(word).name in files for word in command_line)


def refuse_unknown_words(launch: Launch, words: Sequence[str]) -> None:
    """Refuse ``name:=value`` that `ate launch` refuses and ROS's launch takes without a word.

    Raises:
        UsageError: a name is unknown, or given twice.
    """
    own = [word for word in words if word.partition(":=")[0] not in OF_THE_TOOL]
    launch.refuse_unknown(parse_arguments(own))


def _declare(argument: LaunchArgument) -> DeclareLaunchArgument:
    options: dict[str, Any] = {"description": argument.description}
    if argument.default is not None:
        options["default_value"] = argument.default
    if argument.choices:
        options["choices"] = list(argument.choices)
    return DeclareLaunchArgument(argument.name, **options)


def _action(spec: ProcessSpec, restarts: Restarts, failures: _Failures) -> ExecuteProcess:
    """The process, with what follows when it ends; launch_ros's own respawn knows no limit."""
    started = time.monotonic()

    def ended(event: Any, context: LaunchContext) -> list[Any] | None:
        if context.is_shutdown:
            return None
        verdict = restarts.ended(event.returncode, time.monotonic() - started)
        if verdict.failed:
            failures.take(verdict.text)
        if verdict.ends_launch:
            return [Shutdown(reason=verdict.text)]
        entities: list[Any] = [LogInfo(msg=f"[launch] {verdict.text}")]
        if verdict.restart_after is not None:
            again = OpaqueFunction(function=lambda _: [_action(spec, restarts, failures)])
            entities.append(TimerAction(period=verdict.restart_after, actions=[again]))
        return entities

    shared: dict[str, Any] = {
        "name": spec.name,
        "output": "screen",
        "additional_env": {**child_environment(), **spec.environment},
        "on_exit": ended,
    }
    if not spec.is_node:
        return ExecuteProcess(cmd=child_command(spec.module, spec.arguments), **shared)
    return Node(
        package=spec.package,
        executable=spec.executable,
        namespace=spec.namespace or None,
        parameters=[{name: _as_text(value) for name, value in spec.parameters.items()}],
        remappings=list(spec.remappings.items()),
        arguments=list(spec.arguments),
        **shared,
    )


def _as_text(value: str | bool | int) -> Any:
    """Keep text as it is: launch_ros would read it as YAML, and `3` or `put it: down` change."""
    return ParameterValue(value, value_type=str) if isinstance(value, str) else value
