"""Test double of the event handler that the adapter uses."""


class OnShutdown:
    def __init__(self, *, on_shutdown):
        self.handle = on_shutdown
