"""A label for an episode on its way to the recorder, and the recorder's answer in its status.

``/episode/label`` takes the label alone, which is then of whatever episode waits, or a JSON
object: ``label``, the number of the ``episode`` that is meant, and a ``request`` by which whoever
asked finds the answer.
"""

import json
import secrets
from dataclasses import asdict, dataclass, field

from ate_core.episode_outcome import check_label
from ate_core.json_text import Document, as_document, plain_text, read_document

ANSWER = "label_answer"
"""Entry of the recorder's status: ``request``, ``success`` and ``message`` of the last label."""


@dataclass(frozen=True, kw_only=True)
class LabelRequest:
    """What is asked of the recorder."""

    label: str
    """The label in words."""
    episode: object = None
    """Number of the episode that is meant; None: the one that waits."""
    request: str = field(default_factory=lambda: secrets.token_hex(8))
    """A text that nobody else asks by."""

    def text(self) -> str:
        """As the topic has it.

        Raises:
            EpisodeError: the label is none.
        """
        return json.dumps({**asdict(self), "label": check_label(self.label)})

    def answer(self, success: bool, message: str) -> Document:
        """What the recorder says of it."""
        return {"request": self.request, "success": success, "message": message}

    def find_answer(self, status: Document) -> tuple[bool, str] | None:
        """Whether it was done, and in words, as a status of the recorder says; None: not yet."""
        answer = as_document(status.get(ANSWER))
        if answer.get("request") != self.request:
            return None
        return answer.get("success") is True, plain_text(answer.get("message", ""))


def read_label(text: str) -> LabelRequest:
    """What a text on the topic asks for; one that is no such object is the label itself."""
    document = read_document(text)
    if "label" not in document:
        return LabelRequest(label=text, request="")
    return LabelRequest(
        label=str(document["label"]),
        episode=document.get("episode"),
        request=plain_text(document.get("request", "")),
    )
