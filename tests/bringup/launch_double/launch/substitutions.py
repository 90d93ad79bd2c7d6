"""Test double of the substitution that the adapter uses."""


class LaunchConfiguration:
    def __init__(self, name):
        self._name = name

    def perform(self, context):
        return context.launch_configurations[self._name]
