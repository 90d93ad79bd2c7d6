"""What pi0 reads, as it was trained to (openpi): prompt tokens, cameras, padded vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ate_core.errors import CheckpointError, LayoutError
from ate_policy.models.token_rows import pad_rows

MAX_PROMPT = 48
"""Longest prompt [tokens], start and newline included; the rest is cut (openpi)."""

MAX_STATE_PROMPT = 200
"""Longest prompt of pi0.5, which spells the state too [tokens] (openpi, lerobot)."""

BINS = 256
"""Steps between -1 and 1 in which pi0.5 spells the state."""

BYTES = "bytes"
"""Name of the tokenizer that needs no files: for tests and for policies trained from scratch."""

SAMPLES = (
    "pick up the red cube with the left arm and hand it over to the right one",
    "Task: open the drawer, State: 0 17 128 255;\nAction: ",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz 0123456789 .,:;!?-'()/",
)
"""Texts by whose ids two tokenizers are told apart."""

TOKENIZER_HELP = (
    "accept the Gemma licence at huggingface.co/google/paligemma-3b-pt-224, download "
    "tokenizer.json, tokenizer_config.json and special_tokens_map.json into a folder, and name "
    "that folder as tokenizer"
)
"""How to get what cannot be shipped with this repository."""


class Tokenizer(Protocol):
    """Text -> token ids."""

    start: int
    """Id of the token that begins a prompt."""
    newline: int
    """Id of the token that ends a prompt."""

    def encode(self, text: str) -> list[int]:
        """Ids of the text alone, without start or end."""


class ByteTokenizer:
    """One id per UTF-8 byte, behind PaliGemma's special ids pad, end, start and unknown."""

    specials = 4
    size = 260
    start = 2
    newline = specials + 10

    def encode(self, text: str) -> list[int]:
        """Ids of the text's bytes."""
        return [self.specials + byte for byte in text.encode()]


class FolderTokenizer:
    """A Hugging Face tokenizer from a folder; nothing is downloaded."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        if not folder.is_dir():
            raise CheckpointError(f"{folder} is no tokenizer folder: {TOKENIZER_HELP}")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, ImportError) as error:
            reason = " ".join(str(error).split())[:120]
            raise CheckpointError(
                f"{folder} holds no readable tokenizer ({reason}): {TOKENIZER_HELP}"
            ) from None
        newline = self.encode("\n")
        if self._tokenizer.bos_token_id is None or len(newline) != 1:
            raise CheckpointError(
                f"the tokenizer in {folder} has no start token, or a newline is {len(newline)} "
                f"tokens instead of 1: it is not PaliGemma's; {TOKENIZER_HELP}"
            )
        self.start, self.newline = self._tokenizer.bos_token_id, newline[0]

    def encode(self, text: str) -> list[int]:
        """Ids of the text alone."""
        return self._tokenizer.encode(text, add_special_tokens=False)


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """A batch of prompts, padded on the right."""

    ids: Tensor
    """(B, P) int64."""
    mask: Tensor | None
    """(B, P) bool, False at padding; None: all prompts have the same length."""


def load_tokenizer(name: str) -> Tokenizer:
    """The tokenizer that a configuration names: a folder, or 'bytes'."""
    if name == BYTES:
        return ByteTokenizer()
    if not name:
        raise CheckpointError(
            f"pi0 reads an instruction but has no tokenizer: {TOKENIZER_HELP}; or train without "
            "language"
        )
    return FolderTokenizer(Path(name))


def sample_ids(tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    """Ids of `SAMPLES`, and those that begin and end a prompt: equal for equal tokenizers."""
    texts = [tuple(tokenizer.encode(text)) for text in SAMPLES]
    return (*texts, (tokenizer.start, tokenizer.newline))


def require_vocabulary(tokenizer: Tokenizer, name: str, vocabulary: int) -> None:
    """Refuse a tokenizer that numbers more words than a network knows.

    Args:
        tokenizer: Of the network.
        name: Its folder.
        vocabulary: Words that the network knows.

    Raises:
        CheckpointError: an id lies beyond.
    """
    highest = max(max(ids) for ids in sample_ids(tokenizer))
    if highest >= vocabulary:
        raise CheckpointError(
            f"the tokenizer {name} numbers words up to {highest} at least, the network knows "
            f"{vocabulary}: give the tokenizer that its weights were trained with"
        )


def prompt_ids(tokenizer: Tokenizer, instruction: str) -> tuple[int, ...]:
    """Start, instruction on one line with spaces for underscores, newline; at most 48 tokens."""
    text = instruction.strip().replace("_", " ").replace("\n", " ")
    return (tokenizer.start, *tokenizer.encode(text), tokenizer.newline)[:MAX_PROMPT]


def state_prompt_ids(tokenizer: Tokenizer, instruction: str, state: Tensor) -> tuple[int, ...]:
    """Start, instruction, state and the word that asks for actions.

    Args:
        tokenizer: Of the network.
        instruction: In words.
        state: (S,) on the CPU, normalised; -1 .. 1 has numbers 0 .. 255, below stands -1.
    """
    text = instruction.strip().replace("_", " ").replace("\n", " ")
    edges = torch.linspace(-1.0, 1.0, BINS + 1, dtype=torch.float64)[:-1]
    bins = torch.bucketize(state.double(), edges, right=True) - 1
    numbers = " ".join(str(int(number)) for number in bins)
    prompt = f"Task: {text}, State: {numbers};\nAction: "
    ids = (tokenizer.start, *tokenizer.encode(prompt))
    if len(ids) > MAX_STATE_PROMPT:
        raise LayoutError(
            f"instruction and a state of {len(state)} numbers are {len(ids)} tokens, pi0.5 reads "
            f"{MAX_STATE_PROMPT} and would lose the end of the state: shorten the instruction"
        )
    return ids


def pad_prompts(prompts: tuple[tuple[int, ...], ...], device: torch.device) -> Prompts:
    """Bring prompts to the length of the longest."""
    ids, valid = pad_rows(prompts, 0, device)
    equal = len(set(map(len, prompts))) == 1
    return Prompts(ids=ids, mask=None if equal else valid)


def camera_slot(key: str) -> int:
    """Where a camera stands among pi0's: overhead, left wrist, right wrist."""
    return 1 if "left" in key else 2 if "right" in key else 0


def camera_order(cameras: Sequence[str]) -> list[int]:
    """Where pi0's cameras stand among ours: overhead first, then left wrist, right wrist."""
    return sorted(range(len(cameras)), key=lambda index: camera_slot(cameras[index]))


def pad_last(values: Tensor, size: int) -> Tensor:
    """(..., D) -> (..., size), zeros behind."""
    return torch.nn.functional.pad(values, (0, size - values.shape[-1]))
