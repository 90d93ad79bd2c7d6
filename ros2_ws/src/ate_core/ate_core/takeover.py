"""Whether an operator has taken an arm over, by their status, for whoever else drives it."""

from ate_core.json_text import Document, plain_text

RELEASED = "released"
"""State of a clutch whose button is up."""
FROZE = "froze the arm"


class Takeover:
    """What one operator does with their arm; statuses are taken in their order.

    Some may be missed: of what began and ended meanwhile their count of presses tells.
    """

    def __init__(self) -> None:
        """Hear nothing yet."""
        self.held = ""
        """How the operator holds the arm now, in words behind a name; empty: not at all."""
        self._instance: object = None
        self._presses: int | None = None

    def take(self, status: Document) -> str:
        """Take a status; one that tells no clutch says nothing.

        Returns:
            How the operator took the arm over since the one before, in words behind a name;
            empty: not at all.
        """
        if "clutch" not in status:
            return ""
        instance, told = status.get("instance"), status.get("presses")
        presses = told if isinstance(told, int) else 0
        known = presses if self._presses is None else self._presses
        before = self.held
        if instance != self._instance and self._presses is not None:
            known, before = 0, ""  # the operator's process was started anew
        self._instance, self._presses = instance, presses
        self.held, act = _holding(status)
        if presses > known:
            return act or "took the arm for a moment"
        return act if self.held != before else ""


def _holding(status: Document) -> tuple[str, str]:
    """How an operator holds the arm, and how that began; empty: not at all."""
    if status.get("frozen"):
        return FROZE, FROZE
    if status.get("calibrating"):
        return "is being calibrated", "began a calibration"
    if plain_text(status["clutch"]) != RELEASED:
        return "holds the clutch", "closed the clutch"
    return "", ""
