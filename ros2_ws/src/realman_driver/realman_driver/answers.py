"""Requests that wait for the link process, by their tickets."""

import threading

from realman_driver.records import Answer

MOST_TICKETS = 0xFFFFFFF0
"""Tickets begin anew after so many: a record has 32 bits for one."""


class Answers:
    """Hands out tickets and keeps what came back. Any thread may ask."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._newest = 0
        self._answers: dict[int, Answer | None] = {}
        self._news = threading.Condition()

    def ticket(self) -> int:
        """A new ticket, from 1, whose answer is kept until it is forgotten."""
        with self._news:
            self._newest = self._newest % MOST_TICKETS + 1
            self._answers[self._newest] = None
            return self._newest

    def forget(self, ticket: int) -> None:
        """Nobody waits for this one."""
        with self._news:
            self._answers.pop(ticket, None)

    def look(self, ticket: int) -> tuple[bool, Answer | None]:
        """Whether a ticket waits still, and its answer where it has one."""
        with self._news:
            answer = self._answers.get(ticket)
            return ticket in self._answers and answer is None, answer

    def wait(self, ticket: int, seconds: float) -> Answer | None:
        """The answer, or None when it did not come in time; the ticket is forgotten."""
        with self._news:
            self._news.wait_for(lambda: self._answers[ticket] is not None, seconds)
            return self._answers.pop(ticket)

    def take(self, answer: Answer) -> None:
        """Note an answer that somebody waits for."""
        with self._news:
            if answer.ticket in self._answers:
                self._answers[answer.ticket] = answer
                self._news.notify_all()

    def give_up(self, why: str) -> None:
        """Answer all that wait, or have an answer nobody took: it failed."""
        with self._news:
            for ticket in self._answers:
                self._answers[ticket] = Answer(ticket, -1, why)
            self._news.notify_all()
