"""Test doubles of the actions that the adapter uses."""


class DeclareLaunchArgument:
    def __init__(self, name, default_value=None, description="", choices=None):
        self.name, self.default_value = name, default_value


class ExecuteProcess:
    def __init__(self, *, cmd=None, name=None, **options):
        self.cmd, self.name, self.options = cmd, name, options


class OpaqueFunction:
    def __init__(self, *, function):
        self._function = function

    def execute(self, context):
        return self._function(context)


class RegisterEventHandler:
    def __init__(self, event_handler):
        self.event_handler = event_handler


class Shutdown:
    def __init__(self, *, reason=""):
        self.reason = reason


class LogInfo:
    def __init__(self, *, msg):
        self.msg = msg


class TimerAction:
    def __init__(self, *, period, actions):
        self.period, self.actions = period, actions
