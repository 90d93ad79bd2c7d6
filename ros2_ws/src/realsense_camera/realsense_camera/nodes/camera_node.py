"""ROS node of one camera: JPEG images and camera_info."""

import array
import sys
import time
from dataclasses import replace
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from ate_core.device_names import camera_device
from ate_core.errors import DeviceError
from ate_core.nodes.device_node import DeviceNode
from ate_core.nodes.diagnostics import health_line
from ate_core.nodes.parameters import declare_cell, declare_text
from ate_core.nodes.qos import DEFAULT_QOS
from ate_core.nodes.runner import run_node
from realsense_camera.backends import make_backend
from realsense_camera.calibration import read_calibration
from realsense_camera.camera import CameraSettings, Frame, Intrinsics
from realsense_camera.encoder import JpegEncoder
from realsense_camera.health import camera_health
from realsense_camera.stream import CameraStream, StreamConfig

IMAGE_FORMAT = "rgb8; jpeg compressed bgr8"
"""What image_transport's plugin writes for RGB pictures; any other text is read as bgr8."""
SILENCE_LIMIT = 1.0
"""Time without a picture after which a camera is opened again, at least [s]."""
SILENT_PERIODS = 3.0
"""The same in periods, for slow cameras."""


class CameraNode(DeviceNode):
    """`CameraStream` -> `JpegEncoder` -> topics; frames are published in the encoder's thread.

    There is nothing to command, so pictures are published in every state of its lifecycle: active
    says that they came as the cell wants them.
    """

    def __init__(self) -> None:
        super().__init__("camera_node")
        cell = declare_cell(self)
        role = declare_text(self, "role", "overhead", "camera of the cell", tuple(cell.cameras))
        self._settings = CameraSettings.from_cell(cell, role)
        self._frame_id = f"{role}_color_optical_frame"
        self._gaps = self._drops = 0
        size = (self._settings.height, self._settings.width)
        file = self._settings.calibration
        self._calibration = None if file is None else read_calibration(file, size[1], size[0])
        self._images = self.create_publisher(
            CompressedImage, cell.topics.camera_image(role), DEFAULT_QOS
        )
        self._infos = self.create_publisher(CameraInfo, cell.topics.camera_info(role), DEFAULT_QOS)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", DEFAULT_QOS)
        self._encoder = JpegEncoder(self._settings.jpeg_quality, self._publish)
        silence = max(SILENCE_LIMIT, SILENT_PERIODS / self._settings.fps)
        config = StreamConfig(silence_limit=silence)
        backend = make_backend(self._settings)
        self._stream = CameraStream(
            backend, self._encoder.put, config, shape=size, claim=self.claim_device
        )
        self.create_timer(1.0, self._publish_diagnostics)
        self.manage(f"/cameras/{role}", partial(camera_device, cell.cameras[role]))

    def begin(self) -> None:
        """Begin to open the camera."""
        self._encoder.start()
        self._stream.start()

    def link_problem(self) -> str:
        """Why no pictures come."""
        stats = self._stream.stats(time.monotonic())
        if stats.error or stats.frames:
            return stats.error
        return "the camera is open, no picture has come yet"

    def set_active(self, active: bool) -> None:
        """Nothing to do: pictures are published in every state."""

    def halt(self) -> None:
        """Close the camera."""
        self._stream.stop()
        self._encoder.stop()
        self.release_device()

    def _publish(self, frame: Frame, jpeg: bytes) -> None:
        header = Header(frame_id=self._frame_id, stamp=Time(nanoseconds=frame.stamp_ns).to_msg())
        message = CompressedImage(header=header, format=IMAGE_FORMAT)
        message.data = array.array("B", jpeg)
        self._images.publish(message)
        self._infos.publish(self._info(header))

    def _info(self, header: Header) -> CameraInfo:
        intrinsics = self._calibration or self._stream.intrinsics
        return info_message(header, self._settings, intrinsics)

    def _publish_diagnostics(self) -> None:
        now = time.monotonic()
        trouble = self._stream.trouble(now)
        if self._stream.is_running and not self._encoder.is_alive:
            trouble = trouble or "the thread that compresses pictures has died"
        if trouble:
            raise DeviceError(f"camera {self._settings.role}: {trouble}; start this node again")
        stats, encoder = self._stream.stats(now), self._encoder.stats()
        drops = encoder.dropped + encoder.failed
        health = camera_health(
            stats, self._settings.fps, stats.gaps - self._gaps, encoder, drops - self._drops
        )
        self._gaps, self._drops = stats.gaps, drops
        values = {**health.values, **self._stream.identity, "lifecycle": self.state_label}
        health = replace(health, values=values)
        status = health_line(health, f"camera_node: {self._settings.role}", self._settings.serial)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def info_message(
    header: Header, settings: CameraSettings, intrinsics: Intrinsics | None
) -> CameraInfo:
    """camera_info of an image; without intrinsics K stays zero, ROS's word for uncalibrated."""
    message = CameraInfo(header=header, width=settings.width, height=settings.height)
    if intrinsics is None:
        return message
    fx, fy, cx, cy = intrinsics.fx, intrinsics.fy, intrinsics.ppx, intrinsics.ppy
    message.distortion_model = intrinsics.model
    message.d = [float(value) for value in intrinsics.distortion]
    message.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_node(CameraNode, args)


if __name__ == "__main__":
    sys.exit(main())
