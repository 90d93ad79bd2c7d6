from setuptools import find_packages, setup

package_name = 'ate_bringup'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(),
    package_data={'ate_bringup': ['config/*.rviz', 'py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['circus', 'numpy', 'rich', 'setuptools', 'tyro'],
    extras_require={'test': ['pytest']},
    entry_points={
        'console_scripts': [
            'ate = ate_bringup.cli:main',
            'description_node = ate_bringup.nodes.description_node:main',
        ],
    },
    zip_safe=False,
    maintainer='ATE stack maintainers',
    maintainer_email='maintainers@ate-stack.example',
    description='Which processes run, for ros2 launch and for ate launch alike',
    license='Apache-2.0',
)
