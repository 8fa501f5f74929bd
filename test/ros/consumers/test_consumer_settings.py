# SPDX-License-Identifier: Apache-2.0
"""Parameters of the consumers: their file, their bounds, and what a program says of bad ones."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import pytest

from motion_predictor.errors import ConfigError
from motion_predictor.ros.consumers.settings import (
    CONSUMERS,
    CostsParameters,
    parameter_file,
    ScalingParameters,
    SeparationParameters,
)

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = {
    'people_costs': 'nav_msgs/msg/OccupancyGrid',
    'people_list': 'people_msgs/msg/People',
    'people_scene': 'moveit_msgs/msg/PlanningScene',
    'scaling': 'control_msgs/msg/SpeedScalingFactor',
}
"""Modules of programs, and a message that each needs and no wheel brings."""


def test_the_parameter_file_is_made_of_the_declarations() -> None:
    assert (ROOT / 'config' / 'consumers.yaml').read_text() == parameter_file()


def test_the_parameter_file_holds_every_node_and_default() -> None:
    yaml = pytest.importorskip('yaml')
    content = yaml.safe_load(parameter_file())
    assert content.keys() == {f'/**/{name}' for name in CONSUMERS}
    assert content['/**/nav2_speed_limit']['ros__parameters']['output'] == 'nav2'
    assert content['/**/speed_and_separation']['ros__parameters']['robot_m'] == [0.0, 0.0, 1.0]


def test_values_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'min_height_m=2: must be below max_height_m=1\.8'):
        CostsParameters(min_height_m=2.0)
    with pytest.raises(ConfigError, match=r'size_m=0\.1: must be 1 to 4000 times cell_m=1'):
        CostsParameters(size_m=0.1, cell_m=1.0)
    for kind in (ScalingParameters, SeparationParameters):
        with pytest.raises(ConfigError, match=r'period_s=1: must not be above stale_s=0\.01'):
            kind(period_s=1.0, stale_s=0.01)


@pytest.mark.ros
@pytest.mark.parametrize('program', PROGRAMS)
def test_a_package_that_is_missing_is_named(program: str) -> None:
    pytest.importorskip('rclpy')
    message = PROGRAMS[program]
    package = message.partition('/')[0]
    hidden = (
        f'import sys; sys.modules[{package!r}] = None; '
        f'from motion_predictor.ros.consumers.{program} import main; sys.exit(main([]))'
    )
    done = subprocess.run([sys.executable, '-c', hidden], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f'needs {message}' in done.stderr
    assert f'install ros-$ROS_DISTRO-{package.replace("_", "-")}' in done.stderr
    assert 'Traceback' not in done.stderr
