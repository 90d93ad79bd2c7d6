"""The simulator's side: collect demonstrations into files, or roll a policy out over a socket.

Runs in the environment of a simulator, which has neither torch nor the stack's dependencies: it
imports numpy, the standard library and, from the stack, only the socket's client.
"""

import argparse
import importlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ate_core.control_socket import ControlClient
from benchmarks.third_party.expert import Observation, Simulator, joint_names, plan

SIMULATORS = {
    "push_cube": "maniskill_tasks:ManiSkillTask",
    "pick_cube": "maniskill_tasks:ManiSkillTask",
    "two_arm_lift": "robosuite_tasks:RobosuiteTask",
}
"""Task -> module:class that simulates it."""
ATTEMPTS = 2
"""Attempts per wanted demonstration before giving up."""
REPLY_TIMEOUT = 60.0
"""Longest wait for a chunk [s]; the first one may come from a machine under load."""


class Service(Protocol):
    """What answers for the policies; see `policy_service.py`."""

    def call(self, command: str, **arguments: object) -> Mapping[str, Any]:
        """Answer one request."""


def make_simulator(task: str) -> Simulator:
    """Load the simulator of a task."""
    module, _, name = SIMULATORS[task].partition(":")
    return getattr(importlib.import_module(f"benchmarks.third_party.{module}"), name)(task)


def describe(simulator: Simulator) -> dict[str, Any]:
    """What a policy and an episode must agree with."""
    return {
        "task": simulator.task,
        "joints": joint_names(simulator.arms),
        "objects": list(simulator.objects),
        "tick_rate": simulator.tick_rate,
        "versions": dict(simulator.versions),
    }


def collect(simulator: Simulator, output: Path, episodes: int, first_seed: int) -> int:
    """Let the expert play until ``episodes`` succeeded; failures are left out.

    Returns:
        Number of attempts.
    """
    output.mkdir(parents=True, exist_ok=True)
    written = 0
    for attempt in range(ATTEMPTS * episodes):
        seed = first_seed + attempt
        observation = simulator.reset(seed)
        observations, actions = [], []
        for action in plan(simulator, observation, np.random.default_rng(seed)):
            observations.append(observation)
            actions.append(action)
            observation = simulator.step(action)
        if simulator.success():
            save(output / f"episode_{written:06d}.npz", simulator, seed, observations, actions)
            written += 1
        if written == episodes:
            return attempt + 1
    raise SystemExit(
        f"error: only {written} of {ATTEMPTS * episodes} attempts at {simulator.task} succeeded, "
        f"need {episodes}: the expert does not fit this version of the simulator"
    )


def save(
    path: Path,
    simulator: Simulator,
    seed: int,
    observations: list[Observation],
    actions: list[np.ndarray],
) -> None:
    """Write one demonstration: row k of ``action`` is in force from tick k to tick k + 1."""
    np.savez(
        path,
        state=np.stack([observation.state for observation in observations]),
        velocity=np.stack([observation.velocity for observation in observations]),
        environment=np.stack([observation.environment for observation in observations]),
        action=np.stack(actions),
        about=np.array(json.dumps({**describe(simulator), "seed": seed})),
    )


def roll_out(
    simulator: Simulator, service: Service, policy: str, seed: int, limit: int, execute: int
) -> dict[str, Any]:
    """One trial: ask for a chunk, execute its first actions, ask again.

    Args:
        simulator: Where it happens.
        service: Who infers.
        policy: Name of the policy there.
        seed: Of the start, and of the sampler's noise.
        limit: Longest trial [ticks].
        execute: Actions executed of each chunk [ticks].
    """
    observation = simulator.reset(seed)
    action = observation.state  # until there is a chunk: hold
    refused = 0
    for tick in range(limit):
        if tick % execute == 0:
            reply = service.call(
                "infer",
                policy=policy,
                state=observation.state.tolist(),
                environment=observation.environment.tolist(),
                seed=seed * limit + tick,
            )
            refused += "refused" in reply
            chunk = np.array(reply.get("chunk", [action] * execute))
        action = chunk[tick % execute]
        observation = simulator.step(action)
        if simulator.success():
            break
    return {"seed": seed, "success": simulator.success(), "ticks": tick + 1, "refused": refused}


def main() -> None:
    """Run one of the two commands."""
    options = parse()
    simulator = make_simulator(options.task)
    seeds = range(options.first_seed, options.first_seed + options.episodes)
    begin = time.monotonic()
    if options.command == "collect":
        attempts = collect(simulator, options.output, options.episodes, options.first_seed)
        note = f"{options.episodes} demonstrations in {attempts} attempts"
    else:
        service = ControlClient(
            options.socket,
            peer="the policy service",
            remedy="see its output",
            timeout=REPLY_TIMEOUT,
        )
        service.call("hello", policy=options.policy, robot=describe(simulator))
        trials = [
            roll_out(simulator, service, options.policy, seed, options.limit, options.execute)
            for seed in seeds
        ]
        document = {"simulator": describe(simulator), "trials": trials}
        options.output.write_text(json.dumps(document, indent=1) + "\n")
        wins = sum(trial["success"] for trial in trials)
        note = f"{options.policy} {wins} of {len(trials)}"
    print(f"{options.task}: {note}, {time.monotonic() - begin:.0f} s", flush=True)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("collect", "roll-out"):
        command = commands.add_parser(name)
        command.add_argument("--task", choices=SIMULATORS, required=True)
        command.add_argument("--episodes", type=int, required=True)
        command.add_argument("--first-seed", type=int, required=True)
        command.add_argument("--output", type=Path, required=True)
    command.add_argument("--socket", type=Path, required=True)
    command.add_argument("--policy", required=True, help="its name at the socket")
    command.add_argument("--limit", type=int, required=True, help="longest trial [ticks]")
    command.add_argument("--execute", type=int, default=10, help="actions used of each chunk")
    return parser.parse_args()


if __name__ == "__main__":
    main()
