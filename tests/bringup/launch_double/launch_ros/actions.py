"""Test double of the node action."""

from launch.actions import ExecuteProcess


class Node(ExecuteProcess):
    def __init__(self, *, package, executable, namespace=None, parameters=None, **options):
        super().__init__(**options)
        self.package, self.executable = package, executable
        self.namespace, self.parameters = namespace, parameters
