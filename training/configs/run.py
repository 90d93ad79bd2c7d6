"""Options of how a run is carried out, whatever it trains."""

from typing import Literal

Precision = Literal["fp32", "bf16"]
"""bf16: the network in bfloat16 where that is safe."""

LogTarget = Literal["tensorboard", "wandb"]
"""Where metrics go besides log.jsonl."""
