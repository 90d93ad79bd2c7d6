from setuptools import find_packages, setup

package_name = 'ate_description'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(),
    package_data={'ate_description': ['grippers/*.yaml', 'models/*.yaml', 'models/*.urdf', 'py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['setuptools'],
    extras_require={'test': ['pytest']},
    zip_safe=False,
    maintainer='ATE stack maintainers',
    maintainer_email='maintainers@ate-stack.example',
    description='Models of arms (URDF and data), and where they lie',
    license='Apache-2.0',
)
