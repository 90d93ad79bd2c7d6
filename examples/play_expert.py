"""Let the scripted expert do a task in the fast environment and keep what it did."""

import numpy as np

from ate_sim.env import CellEnv, ExpertPlayer

env = CellEnv("pick_place")
observation = env.reset(seed=3)
player = ExpertPlayer(env, seed=3)
print(f"{env.instruction!r}: at most {player.ticks} ticks of {1e3 * env.period:.0f} ms")

states, actions = [], []
for tick in range(player.ticks):
    if env.success():
        break
    states.append(observation.state)
    actions.append(player.action(tick))
    observation = env.step(actions[-1])

print(f"{len(actions)} ticks, score {env.score():.2f}, refused commands {env.refusals}")
lag = np.abs(np.array(states)[1:, :7] - np.array(actions)[:-1, :7]).max()
print(f"the left arm was at most {lag:.3f} rad behind its commands")
assert env.success() and env.refusals == 0
env.close()
