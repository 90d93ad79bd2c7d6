"""The word that a server and its clients share, in a file of each."""

from pathlib import Path

from ate_core.errors import UsageError

SHORTEST_TOKEN = 16
"""Characters of a token."""


def read_token(file: Path | None) -> str:
    """The word in a file; empty without one.

    Raises:
        UsageError: it is too short to be a secret.
    """
    if file is None:
        return ""
    token = file.read_text().strip()
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise UsageError(
            f"the token in {file} must be at least {SHORTEST_TOKEN} printable ASCII characters; "
            "make one with `openssl rand -hex 16`"
        )
    return token
