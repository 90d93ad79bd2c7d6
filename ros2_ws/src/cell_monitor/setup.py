from setuptools import find_packages, setup

package_name = 'cell_monitor'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(),
    package_data={'cell_monitor': ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['setuptools'],
    extras_require={'test': ['pytest']},
    entry_points={
        'console_scripts': [
            'estop_node = cell_monitor.nodes.estop_node:main',
            'monitor_node = cell_monitor.nodes.monitor_node:main',
        ],
    },
    zip_safe=False,
    maintainer='ATE stack maintainers',
    maintainer_email='maintainers@ate-stack.example',
    description='Watches a cell from outside: emergency stop, diagnostics, readiness',
    license='Apache-2.0',
)
