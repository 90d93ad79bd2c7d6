"""Train a tiny policy with its weights spread over processes; started by test_processes.py.

Usage: torchrun ... sharded_run.py OUTPUT. Trains two steps, packs and unpacks the state into a
second model, trains one more, and stores the weights as one process would.
"""

import os
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig
from ate_policy.models.interface import Inputs
from training.loop.optimisation import (
    apply_gradients,
    average_weights,
    copy_weights,
    make_optimizer,
)
from training.loop.run_folder import pack_state, saved_weights, unpack_state


def build(mesh):
    torch.manual_seed(0)
    model = FlowPolicy(FlowPolicyConfig(horizon=4, width=32, blocks=2))
    if mesh is not None:
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
    return model, make_optimizer(model, 1e-4, 0.0), copy_weights(model)


def train(model, optimizer, averaged, generator, step):
    noisy, target = torch.randn(2, 8, 4, 16, generator=generator)
    inputs = Inputs(state=torch.randn(8, 16, generator=generator))
    output = model(noisy, torch.linspace(0.0, 1.0, 8), inputs)
    (output - target).square().mean().backward()
    norm = apply_gradients(optimizer, model, 1e-4)
    average_weights(averaged, model, 0.9, step)
    return float(norm)


def main(output, mesh=None):
    generator = torch.Generator().manual_seed(1)
    model, optimizer, averaged = build(mesh)
    for step in (1, 2):
        train(model, optimizer, averaged, generator, step)
    state = pack_state(2, model, optimizer, {"data": generator}, averaged)
    if mesh is not None:  # every process reads the file that the first one wrote
        if mesh.get_rank() == 0:
            save_file(state, output.with_suffix(".state"))
        torch.distributed.barrier()
        state = load_file(output.with_suffix(".state"))
    other, optimizer, averaged = build(mesh)
    generator = torch.Generator()
    assert unpack_state(state, other, optimizer, {"data": generator}, averaged) == 2
    norm = train(other, optimizer, averaged, generator, 3)
    weights = saved_weights(other, averaged)
    if mesh is None or mesh.get_rank() == 0:
        save_file({**weights, "norm": torch.tensor(norm)}, output)


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    main(Path(sys.argv[1]), init_device_mesh("cpu", (torch.distributed.get_world_size(),)))
    torch.distributed.barrier()  # nobody leaves while the first one still writes
    os._exit(0)  # gloo's threads now and then abort an interpreter on its way out
