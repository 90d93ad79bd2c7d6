"""Episodes that a test leaves open end with it."""

import pytest

from ate_recorder.episode_writer import EpisodeWriter


@pytest.fixture(autouse=True)
def _no_thread_stays(monkeypatch):
    """No writer's thread outlives its test."""
    writers, begin = [], EpisodeWriter.__init__

    def noted(writer, *words, **options):
        begin(writer, *words, **options)
        writers.append(writer)

    monkeypatch.setattr(EpisodeWriter, "__init__", noted)
    yield
    for writer in writers:
        writer.lack()  # takes no more and joins
