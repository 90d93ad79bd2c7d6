from setuptools import find_packages, setup

package_name = 'ate_cockpit'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(),
    package_data={'ate_cockpit': ['py.typed', 'page/*.html', 'page/*.js', 'page/*.css']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['aiohttp', 'coal', 'numpy', 'setuptools'],
    extras_require={'test': ['pytest']},
    entry_points={'console_scripts': ['cockpit_node = ate_cockpit.nodes.cockpit_node:main']},
    zip_safe=False,
    maintainer='ATE stack maintainers',
    maintainer_email='maintainers@ate-stack.example',
    description='The page on which people see a cell, stop it and look after episodes',
    license='Apache-2.0',
)
