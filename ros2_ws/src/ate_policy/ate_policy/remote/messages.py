"""What the two ends say: who the server is, an observation, and a chunk."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import AteError, LayoutError
from ate_core.observation import Observation
from ate_policy.continuation import Continuation
from ate_policy.images import decode_jpeg, fit_image
from ate_policy.models.interface import PolicyConfig
from ate_policy.robot_policy import RobotPolicy
from ate_policy.transforms import Statistics

FORMAT = 2
"""Of the metadata; another one is refused."""
FILES = "files_sha256"
"""Entry of the metadata with hashes of the checkpoint's files; older servers have none."""
KEYS = ("state", "images", "environment", "prompt", "tick", "seed", "prefix", "delay", "jacobian")
"""What a request may hold; openpi's clients send the first four."""


CONTROL, ACKNOWLEDGED = "__ctrl__", "__ack__"
"""Entries of a message that is no observation, and of its answer (openpi's pull request 919)."""
CONTROLS = ("episode_start", "episode_end")
"""What such clients tell. A policy keeps nothing from one chunk to the next: nothing is to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServedConfig(PolicyConfig):
    """What every network has of its configuration, as a server tells it."""

    takes_prefix: ClassVar[bool] = True
    """Not asked again: the network's own configuration has refused delays that it cannot have."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServedPolicy:
    """A server's policy, as its first message describes it."""

    kind: str
    """Kind of the network."""
    config: PolicyConfig
    """What it reads and gives."""
    contract: str
    """Canonical text of the cell it was trained for."""
    training: dict[str, Any]
    """How it was trained."""
    statistics: Statistics
    """Normalisation."""
    device: str
    """Where the network runs."""
    continues: bool
    """Whether it takes a continuation."""
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """SHA-256 of the files that decide its chunks, by name; empty: not told."""

    @property
    def cell(self) -> Cell:
        """The cell it was trained for."""
        return parse_cell_text(self.contract, where="the server's contract")

    @staticmethod
    def of(policy: RobotPolicy, files: Mapping[str, str] | None = None) -> "ServedPolicy":
        """Describe a policy; of its configuration only what every network has.

        Args:
            policy: that is served.
            files: SHA-256 of its checkpoint's files; None: not told.
        """
        fields = {
            field.name: getattr(policy.config, field.name)
            for field in dataclasses.fields(PolicyConfig)
        }
        return ServedPolicy(
            kind=policy.kind,
            config=ServedConfig(**fields),
            contract=policy.contract,
            training=policy.training,
            statistics=policy.statistics,
            device=str(policy.device),
            continues=policy.continues,
            files=files or {},
        )

    def metadata(self) -> dict[str, Any]:
        """The first message of a server."""
        layout = self.cell.layout
        return {
            "format": FORMAT,
            "kind": self.kind,
            "horizon": self.config.horizon,
            "rate_hz": self.cell.tick_rate,
            "layout_sha256": layout.sha256,
            "contract_sha256": hashlib.sha256(self.contract.encode()).hexdigest(),
            "state_names": list(layout.state.names),
            "action_names": list(layout.action.names),
            "config": dataclasses.asdict(self.config),
            "contract": self.contract,
            "training": self.training,
            "statistics": self.statistics.to_dict(),
            "device": self.device,
            "continues": self.continues,
            **({FILES: dict(self.files)} if self.files else {}),
        }

    @staticmethod
    def read(metadata: Mapping[str, Any], where: str) -> "ServedPolicy":
        """Read the first message of a server.

        Raises:
            LayoutError: it does not say which cell its policy was trained for.
        """
        found = metadata.get("format")
        if found != FORMAT:
            raise LayoutError(
                f"{where} has metadata of format {found!r}, must be {FORMAT}: without it a policy "
                "cannot be compared with the cell; serve a checkpoint with `ate serve` of this "
                "version, or say with policy_keys:=FILE what a server of openpi reads"
            )
        try:
            served = ServedPolicy(
                kind=str(metadata["kind"]),
                config=ServedConfig(**metadata["config"]),
                contract=str(metadata["contract"]),
                training=dict(metadata["training"]),
                statistics=Statistics.from_dict(metadata["statistics"]),
                device=str(metadata["device"]),
                continues=bool(metadata["continues"]),
                files=dict(metadata.get(FILES, {})),
            )
        except (KeyError, TypeError, ValueError, AteError) as error:
            raise LayoutError(f"{where} has metadata that cannot be read: {error!r}") from None
        if served.cell.layout.sha256 != metadata.get("layout_sha256"):
            raise LayoutError(f"{where} names another layout than that of its contract")
        return served


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """An observation, and how to sample."""

    observation: Observation
    """What was measured."""
    tick: int | None = None
    """Echoed in the answer, so that a late one is known."""
    seed: int | None = None
    """Of the sampler's noise."""
    continuation: Continuation | None = None
    """The chunk that is being played."""

    def message(self, config: PolicyConfig) -> dict[str, Any]:
        """What is sent: pictures in the size that the network sees."""
        observation, old = self.observation, self.continuation
        size = (config.image_height, config.image_width, config.image_fit)
        optional = {"environment": observation.environment, "tick": self.tick, "seed": self.seed}
        message: dict[str, Any] = {
            "state": _float32(observation.state),
            "images": {
                key: fit_image(observation.images[key], *size)
                for key in config.cameras
                if key in observation.images
            },
            "prompt": observation.instruction,
            **{key: value for key, value in optional.items() if value is not None},
        }
        if old is not None:
            message |= {
                "prefix": _float32(old.actions),
                "delay": old.delay,
                "jacobian": old.through_network,
            }
        return message

    @staticmethod
    def read(message: Mapping[str, Any], config: PolicyConfig) -> "Request":
        """Read a request; sizes are checked by the policy.

        Raises:
            LayoutError: naming the entry that cannot be read.
        """
        if unknown := sorted(set(message) - set(KEYS)):
            raise LayoutError(f"a request has unknown entries {unknown}, it may have {list(KEYS)}")
        images = message.get("images", {})
        if not isinstance(images, dict):
            raise LayoutError("images must be a map from camera to picture")
        prompt = message.get("prompt", "")
        if not isinstance(prompt, str):
            raise LayoutError(f"prompt is {type(prompt).__name__}, must be text")
        environment = message.get("environment")
        return Request(
            observation=Observation(
                state=_numbers(message, "state"),
                images={str(key): _picture(one, config) for key, one in images.items()},
                environment=None if environment is None else _numbers(message, "environment"),
                instruction=prompt,
                stamp_ns=0,
            ),
            tick=_whole(message, "tick"),
            seed=_whole(message, "seed"),
            continuation=None
            if "prefix" not in message
            else Continuation(
                actions=_numbers(message, "prefix"),
                delay=_whole(message, "delay") or 0,
                through_network=message.get("jacobian") is True,
            ),
        )


def acknowledged(message: Mapping[str, Any]) -> dict[str, str] | None:
    """The answer to a message about episodes; None: it is a request for a chunk."""
    if CONTROL not in message:
        return None
    told = message[CONTROL]
    return {ACKNOWLEDGED: told if told in CONTROLS else "ignored"}


def read_chunk(answer: Mapping[str, Any], horizon: int, width: int) -> NDArray[np.float32]:
    """The chunk (H, D) of an answer; what its numbers may be is checked by whoever plays it.

    Raises:
        LayoutError: it is of another shape or kind.
    """
    chunk, wanted = answer.get("actions"), (horizon, width)
    if not isinstance(chunk, np.ndarray) or chunk.dtype.kind != "f" or chunk.shape != wanted:
        found = type(chunk).__name__
        if isinstance(chunk, np.ndarray):
            found = f"{chunk.dtype} {chunk.shape}"
        raise LayoutError(f"the server's actions are {found}, must be float {wanted}")
    return np.array(chunk, np.float32)


def _float32(values: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, np.float32)


def _numbers(message: Mapping[str, Any], key: str) -> NDArray[np.float32]:
    values = message.get(key)
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        kind = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise LayoutError(f"{key} is {kind}, must be an array of float32 or float64")
    return _float32(values)


def _whole(message: Mapping[str, Any], key: str) -> int | None:
    value = message.get(key)
    if value is not None and (type(value) is not int or value < 0):
        raise LayoutError(f"{key} is {value!r}, must be a whole number of 0 or more")
    return value


def _picture(image: Any, config: PolicyConfig) -> np.ndarray:
    """An RGB picture (h, w, 3); channels may come first, or it is a JPEG."""
    if isinstance(image, bytes):
        return decode_jpeg(image, config.image_height, config.image_width)
    if not isinstance(image, np.ndarray):
        raise LayoutError(f"a picture is {type(image).__name__}, must be an array or a JPEG")
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        return np.ascontiguousarray(image.transpose(1, 2, 0))
    return np.asarray(image)
