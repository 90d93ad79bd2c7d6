"""The headset's public message format, built by hand in a private descriptor pool.

A private pool lets this module live beside the vendor's client in one process: in the default
pool the two copies of `handtracking.proto` clash. Source: handtracking.proto of Improbable-
AI/VisionProTeleop.
"""

from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from operator_devices.hand_pose import Matrix

PORT = 12345
"""TCP port of the app; it cannot be told another one."""
SERVICE = "handtracking.HandTrackingService"
METHOD = "StreamHandUpdates"
METHOD_PATH = f"/{SERVICE}/{METHOD}"

REQUEST_DISCOVERY = 888.0
"""`Head.m00` of the request that opens the stream."""
ONE_SHOT_REQUESTS = (778.0, 999.0)
"""`Head.m00` of requests answered by one message: calibration status, WebRTC information."""
CLIENT_VERSION = 25000.0
"""`Head.m30` of the request, as the vendor's client sends it."""
MINIMUM_CLIENT_VERSION = 20500.0
"""Below this the app sends only empty messages."""
BENCHMARK_ECHO = 777.0
"""`Head.m00` of a reply that carries no pose."""
MARKER_TAIL = 666.0
"""`m00` of the right hand's joint entry that starts the marker poses."""
STYLUS_TAIL = 777.0
"""`m00` of the right hand's joint entry that starts a stylus pose."""

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "handtracking"
MATRIX_FIELDS = tuple(f"m{row}{column}" for row in range(4) for column in range(4))


def _build_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="handtracking.proto", package=_PACKAGE, syntax="proto3"
    )

    def add(message: str, *fields: tuple[str, str | None, bool]) -> None:
        target = file.message_type.add(name=message)
        for number, (name, type_name, repeated) in enumerate(fields, start=1):
            target.field.add(
                name=name,
                number=number,
                label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
                type=_FIELD.TYPE_MESSAGE if type_name else _FIELD.TYPE_FLOAT,
                type_name=f".{_PACKAGE}.{type_name}" if type_name else None,
            )

    add("Matrix4x4", *((name, None, False) for name in MATRIX_FIELDS))
    add("Skeleton", ("jointMatrices", "Matrix4x4", True))
    add("Hand", ("wristMatrix", "Matrix4x4", False), ("skeleton", "Skeleton", False))
    add(
        "HandUpdate",
        ("left_hand", "Hand", False),
        ("right_hand", "Hand", False),
        ("Head", "Matrix4x4", False),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = (message.name for message in file.message_type)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in names
    }


_CLASSES = _build_classes()
HandUpdate: Any = _CLASSES["HandUpdate"]


def read_matrix(message: Any) -> Matrix:
    """A `Matrix4x4` message as a (4, 4) array."""
    m = message
    return np.array(
        [
            [m.m00, m.m01, m.m02, m.m03],
            [m.m10, m.m11, m.m12, m.m13],
            [m.m20, m.m21, m.m22, m.m23],
            [m.m30, m.m31, m.m32, m.m33],
        ]
    )


def write_matrix(message: Any, transform: Matrix) -> None:
    """Fills a `Matrix4x4` message from a (4, 4) array."""
    for name, value in zip(MATRIX_FIELDS, np.asarray(transform).ravel().tolist(), strict=True):
        setattr(message, name, value)


def discovery_request(address: str) -> Any:
    """The request that opens the stream, for a client with this IPv4 address."""
    octets = [float(octet) for octet in address.split(".")]
    request = HandUpdate()
    head = request.Head
    head.m00 = REQUEST_DISCOVERY
    head.m01, head.m02, head.m03, head.m10 = octets
    head.m30 = CLIENT_VERSION
    return request
