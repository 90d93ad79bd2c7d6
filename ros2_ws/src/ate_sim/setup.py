from setuptools import find_packages, setup

package_name = 'ate_sim'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(),
    package_data={package_name: ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['mujoco', 'numpy', 'setuptools', 'tyro'],
    extras_require={'test': ['pytest']},
    entry_points={
        'console_scripts': [
            'arm_clearing = ate_sim.nodes.arm_clearing:main',
            'rollouts = ate_sim.nodes.rollouts:main',
            'scene_node = ate_sim.nodes.scene_node:main',
        ],
    },
    zip_safe=False,
    maintainer='ATE stack maintainers',
    maintainer_email='maintainers@ate-stack.example',
    description='Simulated cell: MuJoCo world, tasks, scripted operators and device emulators',
    license='Apache-2.0',
)
