"""Test double of ROS's `launch`: keeps what the adapter builds, starts nothing."""


class LaunchContext:
    def __init__(self, argv=()):
        self.argv = argv
        self.launch_configurations = {}
        self.is_shutdown = False


class LaunchDescription:
    def __init__(self, entities):
        self.entities = entities
