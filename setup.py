"""Install motion_predictor, with ament_python through colcon or with pip alone."""

from __future__ import annotations

from glob import glob

from setuptools import find_packages, setup

NAME = 'motion_predictor'
SHARE = f'share/{NAME}'

setup(
    name=NAME,
    version='0.2.0',
    description='Samples where people will move next, from a stream of 3D skeletons.',
    license='Apache-2.0',
    maintainer='motion_predictor maintainers',
    maintainer_email='maintainers@motion-predictor.dev',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    python_requires='>=3.10',
    install_requires=['numpy>=1.22', 'safetensors>=0.4', 'scipy>=1.8', 'torch>=2.1'],
    extras_require={
        'amass': ['smplx'],
        'test': ['hypothesis', 'pytest', 'pytest-xdist'],
        'replay': ['rosbags'],
        'view': ['rerun-sdk'],
        'training': [
            'jinja2',
            'matplotlib',
            'optuna',
            'ruamel.yaml',
            'tensorboard',
            'tqdm',
            'tyro',
        ],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (SHARE, ['package.xml']),
        (f'{SHARE}/config', sorted(glob('config/*.*'))),
        (f'{SHARE}/config/sros2', sorted(glob('config/sros2/*'))),
        (f'{SHARE}/launch', sorted(glob('launch/*.launch.py'))),
        (f'{SHARE}/weights', sorted(glob('resource/weights/*'))),
    ],
    entry_points={
        'console_scripts': [
            f'predictor = {NAME}.__main__:main',
            f'replay = {NAME}.ros.replay:main',
            f'people_costs = {NAME}.ros.consumers.people_costs:main',
            f'people_list = {NAME}.ros.consumers.people_list:main',
            f'people_scene = {NAME}.ros.consumers.people_scene:main',
            f'prescyent_bridge = {NAME}.ros.consumers.prescyent_bridge:main',
            f'speed_and_separation = {NAME}.ros.consumers.monitor:main',
            f'speed_scaling = {NAME}.ros.consumers.scaling:main',
        ],
    },
    zip_safe=False,
)
