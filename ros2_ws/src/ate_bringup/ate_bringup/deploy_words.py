"""What the arguments of a deployment must not say together. Nothing is looked at but the words."""

import re
from urllib.parse import urlsplit

from ate_bringup.processes import Values
from ate_core.errors import UsageError

LONGEST_DEADLINE = 4000
"""A chunk of a server may be waited for so long [ms]; the policy's node would give it up."""
DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")
"""Where a network may run."""
OF_A_SERVER = ("policy_token", "policy_keys")
"""Arguments that say nothing without a server."""
OF_THE_NETWORK = {"device": "auto", "precision": "auto"}
"""Arguments that a server decides for itself, with their defaults."""


def refuse_contradictions(values: Values) -> None:
    """Refuse arguments of a deployment that cannot be meant together, or would be ignored.

    Those that say nothing without another one are refused before, see `Need`.

    Args:
        values: all of them, each allowed by itself.

    Raises:
        UsageError: naming them and what to give instead.
    """
    _refuse_policy(values)
    _refuse_server(values)
    if not DEVICE.fullmatch(values["device"]):
        raise UsageError(
            f"device:={values['device']} is not allowed; need auto, cpu, cuda or cuda:1"
        )


def _refuse_policy(values: Values) -> None:
    server = values["policy_server"]
    if bool(values["checkpoint"]) == bool(server):
        raise UsageError(
            "deploy has both checkpoint:= and policy_server:=: give one of them"
            if server
            else "deploy needs checkpoint:=FOLDER or policy_server:=ws://HOST:PORT"
        )


def _refuse_server(values: Values) -> None:
    server, deadline = values["policy_server"], int(values["policy_deadline_ms"])
    if server and not _is_address(server):
        raise UsageError(f"policy_server:={server} is not allowed; need ws://HOST:PORT")
    if not 0 < deadline <= LONGEST_DEADLINE:
        raise UsageError(
            f"policy_deadline_ms:={deadline} is not allowed; need 1 to {LONGEST_DEADLINE}"
        )
    if not server and any(values[name] for name in OF_A_SERVER):
        raise UsageError("policy_keys:= and policy_token:= belong to a policy_server:=: give it")
    for name, default in OF_THE_NETWORK.items():
        if server and values[name] != default:
            raise UsageError(
                f"{name}:={values[name]} is of a network that runs here: give it to `ate serve`"
            )


def _is_address(text: str) -> bool:
    """Whether a text is ws:// or wss:// with a host and a port."""
    try:
        address = urlsplit(text)
        return address.scheme in ("ws", "wss") and bool(address.hostname and address.port)
    except ValueError:  # a port that is none
        return False
