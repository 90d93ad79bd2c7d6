"""Build of the ROS package."""

from setuptools import find_packages, setup

PACKAGE = "realsense_camera"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ],
    install_requires=[
        "numpy",
        "opencv-python-headless",
        "pyrealsense2",
        "PyYAML",
        "setuptools",
        "simplejpeg",
    ],
    extras_require={"test": ["pytest"]},
    zip_safe=True,
    maintainer="ATE stack maintainers",
    maintainer_email="maintainers@ate-stack.example",
    description="One colour camera of the cell through librealsense, V4L2 or the simulated cell.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": ["camera_node = realsense_camera.nodes.camera_node:main"],
    },
)
