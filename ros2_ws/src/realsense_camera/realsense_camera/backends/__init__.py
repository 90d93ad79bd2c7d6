"""Libraries that deliver frames; each is imported only when a camera asks for it."""

from ate_core.errors import UsageError
from realsense_camera.camera import CameraBackend, CameraSettings


def make_backend(settings: CameraSettings) -> CameraBackend:
    """The back end that the cell names for a camera.

    Raises:
        DeviceError: its library cannot be loaded.
        UsageError: no such back end, or the settings lack what it needs.
    """
    if settings.backend == "realsense":
        from realsense_camera.backends.realsense import RealsenseBackend

        return RealsenseBackend(settings)
    if settings.backend == "software":
        from realsense_camera.backends.software import SoftwareBackend

        return SoftwareBackend(settings)
    if settings.backend == "v4l2":
        from realsense_camera.backends.v4l2 import V4l2Backend

        return V4l2Backend(settings)
    raise UsageError(
        f"camera {settings.role}: backend is {settings.backend!r}; "
        "need realsense, v4l2 or software"
    )
