# SPDX-License-Identifier: Apache-2.0
"""Install motion_predictor, with ament_python through colcon or with pip alone."""

from __future__ import annotations

from glob import glob
from pathlib import Path
import sys

from setuptools import find_packages, setup

NAME = 'motion_predictor'
SHARE = f'share/{NAME}'
BUNDLE = f'{NAME}.bundle_files'

# pip builds a wheel by these commands. A wheel carries the programs and weights inside the package
# (motion_predictor/bundle.py); colcon installs what a robot needs alone, weights below share.
wheel = 'bdist_wheel' in sys.argv

packages = find_packages(include=[NAME, f'{NAME}.*'])
package_dir: dict[str, str] = {}
package_data = {NAME: ['py.typed']}
data_files = [
    ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
    (SHARE, ['package.xml']),
    (f'{SHARE}/config', sorted(glob('config/*.*'))),
    (f'{SHARE}/config/sros2', sorted(glob('config/sros2/*'))),
    (f'{SHARE}/launch', sorted(glob('launch/*.launch.py'))),
]
if wheel:
    beside = ['tools', 'tools.demo', 'tools.measure']
    beside += find_packages(include=['training', 'training.*'])
    for name in beside:
        packages.append(f'{BUNDLE}.{name}')
        package_dir[f'{BUNDLE}.{name}'] = name.replace('.', '/')
        package_data[f'{BUNDLE}.{name}'] = ['page/*', 'templates/*']
    for name in ('recordings', 'weights'):
        packages.append(f'{BUNDLE}.{name}')
        package_dir[f'{BUNDLE}.{name}'] = f'resource/{name}'
        package_data[f'{BUNDLE}.{name}'] = ['*']
else:
    data_files.append((f'{SHARE}/weights', sorted(glob('resource/weights/*'))))

scripts = [f'motion-predictor = {NAME}.commands:main']
ROS_RUN = {
    'predictor': '__main__',
    'replay': 'ros.replay',
    'people_costs': 'ros.consumers.people_costs',
    'people_list': 'ros.consumers.people_list',
    'people_scene': 'ros.consumers.people_scene',
    'prescyent_bridge': 'ros.consumers.prescyent_bridge',
    'speed_and_separation': 'ros.consumers.monitor',
    'speed_scaling': 'ros.consumers.scaling',
}
if not {'bdist_wheel', 'dist_info'} & {*sys.argv}:  # `ros2 run` takes these
    scripts += [f'{script} = {NAME}.{module}:main' for script, module in ROS_RUN.items()]

TRAINING = [
    'jinja2',
    'matplotlib',
    'optuna',
    'pymunk',
    'rosbags',
    'ruamel.yaml',
    'tensorboard',
    'tqdm',
    'tyro',
]
ROS = [
    line.strip()
    for line in Path('requirements-ros.txt').read_text().splitlines()
    if line.strip() and not line.startswith('#')
]

setup(
    name=NAME,
    version='0.2.0',
    description='Samples where people will move next, from a stream of 3D skeletons.',
    long_description=Path('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    project_urls={
        'Method: SwiftDiff': 'https://arxiv.org/abs/2409.12456',
        'Method: TransFusion': 'https://arxiv.org/abs/2307.16106',
        'Method: VDD': 'https://arxiv.org/abs/2406.12538',
    },
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in (10, 11, 12, 13)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
    keywords=['ros2', 'human motion prediction', 'diffusion', 'skeleton', 'robotics'],
    license='Apache-2.0',
    maintainer='motion_predictor maintainers',
    maintainer_email='maintainers@motion-predictor.dev',
    packages=packages,
    package_dir=package_dir,
    package_data=package_data,
    python_requires='>=3.10',
    install_requires=['numpy>=1.22', 'safetensors>=0.4', 'scipy>=1.8', 'torch>=2.1'],
    extras_require={
        'amass': ['smplx'],
        'demo': ['matplotlib', 'rosbags', *ROS],
        'hub': ['huggingface_hub<1'],
        'onnx': ['onnx', 'onnxruntime', 'onnxscript'],
        'replay': ['rosbags'],
        'ros': ROS,
        'test': ['dockerfile-parse', 'hypothesis', 'pytest', 'pytest-xdist', 'pyyaml'],
        'training': TRAINING,
        'view': ['rerun-sdk'],
    },
    data_files=data_files,
    entry_points={'console_scripts': scripts},
    zip_safe=False,
)
