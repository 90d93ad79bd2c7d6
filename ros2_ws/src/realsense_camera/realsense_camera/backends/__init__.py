"""Libraries that deliver frames; each is imported only when a camera asks for it."""

from ate_core.camera_config import CAMERA_BACKENDS
from realsense_camera.camera import CameraBackend, CameraSettings


def make_backend(settings: CameraSettings) -> CameraBackend:
    """The back end that the cell names for a camera.

    Raises:
        DeviceError: its library cannot be loaded.
        ContractError: no such back end; the message lists the known ones.
        UsageError: the settings lack what it needs.
    """
    backend: CameraBackend = CAMERA_BACKENDS.load(settings.backend)(settings)
    return backend
