"""Whether data still is what it was made as: its contract and layout against their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ate_core.contract import Cell
from ate_core.errors import EpisodeError


def require_hashes(cell: Cell, text: str, stored: Mapping[str, str], where: str) -> None:
    """Refuse data whose contract or layout is not the one that was hashed when it was made.

    Args:
        cell: The cell that the text describes.
        text: The contract as stored.
        stored: ``contract`` and ``layout`` to their hashes; an empty one was not stored.
        where: File or bag, for the message.

    Raises:
        EpisodeError: one of them differs.
    """
    found = {
        "contract": hashlib.sha256(text.encode()).hexdigest(),
        "layout": cell.layout.sha256,
    }
    for name, sha256 in found.items():
        if stored[name] and stored[name] != sha256:
            raise EpisodeError(
                f"the {name} in {where} is not the one it was made with (hash {sha256[:12]}, "
                f"stored {stored[name][:12]}): somebody changed it afterwards; make it again "
                "from its source"
            )
