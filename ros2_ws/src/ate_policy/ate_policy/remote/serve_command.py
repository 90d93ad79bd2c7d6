"""`ate serve`: a policy for robots on other machines."""

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from ate_policy.checkpoint import files_sha256, resolve_checkpoint
from ate_policy.loading import Precision
from ate_policy.policy import load_policy
from ate_policy.remote.server import PolicyServer, ServerConfig
from ate_policy.remote.token import read_token

SLOW = 2.0
"""Hashing a checkpoint longer than this is told [s]."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Serve a policy over websocket; openpi's client can use it too."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """Checkpoint or run folder."""
    host: str = "127.0.0.1"
    """Address to listen on; any but a loopback one needs a token."""
    port: int = 8000
    """TCP port; 0: any that is free."""
    token_file: Path | None = None
    """File with the word that clients must know."""
    device: str = "auto"
    """Where the network runs: auto (the GPU where there is one), cpu, cuda."""
    precision: Precision = "auto"
    """What it computes in; auto: bf16 for pi0 and rdt on a GPU, else fp32."""


def serve(config: ServeConfig) -> int:
    """Serve until interrupted."""
    token = read_token(config.token_file)
    server_config = ServerConfig(host=config.host, port=config.port, token=token)
    torch.set_num_threads(1)
    folder = resolve_checkpoint(config.checkpoint)  # once: a run in training makes newer ones
    policy = load_policy(folder, device=config.device, precision=config.precision)
    server = PolicyServer(policy, server_config, _hashes(folder))
    warm = policy.warm_up()

    def ready(address: str) -> None:
        print(f"{policy.kind} at {address}, {1e3 * warm:.1f} ms per chunk", flush=True)

    asyncio.run(server.serve(ready))
    return 0


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of a checkpoint's files; says so where that took long."""
    begin = time.monotonic()
    files = files_sha256(folder)
    if (taken := time.monotonic() - begin) > SLOW:
        logger.warning("%s: the SHA-256 of its files took %.1f s, once per start", folder, taken)
    return files
