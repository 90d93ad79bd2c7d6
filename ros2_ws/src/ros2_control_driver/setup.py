from setuptools import find_packages, setup

PACKAGE = "ros2_control_driver"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(),
    package_data={PACKAGE: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ],
    install_requires=["numpy", "setuptools"],
    extras_require={"test": ["pytest"]},
    zip_safe=True,
    maintainer="ATE stack maintainers",
    maintainer_email="maintainers@ate-stack.example",
    description="Driver of any arm behind a forward position controller.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "driver_node = ros2_control_driver.nodes.driver_node:main",
            "controllers_node = ros2_control_driver.nodes.controllers_node:main",
        ],
    },
)
