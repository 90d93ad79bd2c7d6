"""Run an untrained policy for one chunk in the simulated world, as the policy node would."""

import numpy as np

from ate_core.errors import SafetyError
from ate_policy.chunk_check import ChunkLimits
from ate_policy.untrained import untrained_policy
from ate_sim.env import CellEnv

env = CellEnv("pick_place", seed=0)
observation = env.reset(seed=0)
policy = untrained_policy(env.cell, objects=len(observation.environment), seed=0)
print(f"policy reads {policy.config.objects} object poses, a chunk has {policy.horizon} actions")

# A trained one comes from `load_policy("runs/plain", env.cell)`; the rest is the same.
chunk = policy.infer(observation, 0)  # (20, 16): row i belongs to tick k + 1 + i
assert np.array_equal(chunk, policy.infer(observation, 0)), "a seed decides the chunk"

# Nothing of a chunk may move an arm before the whole of it is checked.
limits = ChunkLimits.of_cell(env.cell)
hold = np.repeat(observation.state[None], policy.horizon, axis=0)
try:
    limits.check(chunk, observation.state)
    actions = chunk
except SafetyError as error:
    print(error)
    actions = hold

jump = hold.copy()
jump[7, 0] += 0.5  # rad, in one tick
try:
    limits.check(jump, observation.state)
    raise AssertionError("a jump passed")
except SafetyError as error:
    print(error)

for action in actions:
    observation = env.step(action)
print(f"after {len(actions)} ticks: score {env.score():.2f}, refused commands {env.refusals}")
assert np.isfinite(observation.state).all() and not env.success()
env.close()
