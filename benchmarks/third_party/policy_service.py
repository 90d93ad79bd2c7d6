"""The stack's side of a roll-out: policies behind a local socket, one answer per request."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import LayoutError, SafetyError, UsageError
from ate_core.observation import Observation
from ate_policy.chunk_check import ChunkLimits
from ate_policy.policy import Policy
from benchmarks.third_party.episodes import require_robot


class PolicyService:
    """Answers `hello` and `infer`; serve it with `ate_core.control_socket.ControlServer`.

    hello   policy, robot (see `play.describe`)        -> horizon
    infer   policy, state, environment, seed           -> chunk (H, D), or refused: why

    A policy infers only for the robot and the task that it was trained for, so a simulator says
    hello first.
    """

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        """Serve policies by name."""
        self._policies = dict(policies)
        self._cells: dict[str, Cell] = {}

    def __call__(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer one request."""
        name = str(request.get("policy"))
        if name not in self._policies:
            raise UsageError(f"there is no policy {name!r}; have {', '.join(self._policies)}")
        match request["command"]:
            case "hello":
                return self._hello(name, request.get("robot"))
            case "infer":
                return self._infer(name, request)
        raise UsageError(f"there is no command {request['command']!r}; use hello or infer")

    def _hello(self, name: str, robot: object) -> Mapping[str, Any]:
        if not isinstance(robot, Mapping):
            raise UsageError(f"robot is {robot!r}; need joints, objects, task and tick_rate")
        policy = self._policies[name]
        cell = parse_cell_text(policy.contract)
        require_robot(cell, robot, f"policy {name}")
        trained_on = policy.training.get("task", robot.get("task"))
        if robot.get("task") != trained_on:
            raise UsageError(
                f"policy {name} was trained on {trained_on}, the simulator plays "
                f"{robot.get('task')}: roll it out on its own task"
            )
        self._cells[name] = cell
        return {"horizon": policy.horizon}

    def _infer(self, name: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        if name not in self._cells:
            raise UsageError(f"policy {name} does not know the robot: send hello first")
        cell = self._cells[name]
        state = _numbers(request, "state")
        observation = Observation(
            state=state, environment=_numbers(request, "environment"), stamp_ns=0
        )
        seed = request.get("seed")
        if not isinstance(seed, int):
            raise UsageError(f"seed is {seed!r}; need a whole number")
        chunk = self._policies[name].infer(observation, seed)
        try:
            ChunkLimits.of_cell(cell).check(chunk, state)
        except SafetyError as error:
            return {"refused": str(error)}
        return {"chunk": chunk.tolist()}


def _numbers(request: Mapping[str, Any], name: str) -> np.ndarray:
    try:
        return np.asarray(request[name], dtype=np.float32)
    except (KeyError, TypeError, ValueError):
        raise LayoutError(f"{name} is {request.get(name)!r}; need a list of numbers") from None
