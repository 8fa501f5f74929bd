# SPDX-License-Identifier: Apache-2.0
"""The stand-in for a depth camera's bag: read by the node's decoder, it is the person again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motion_predictor.body.layout_file import layout
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.rosbag import read_rosbag
from tools.demo.camera_bag import AWAY_M, in_camera, main, write_bag
from tools.demo.demo_clips import EXERCISE_FILE, whole_recording


@pytest.mark.slow
def test_the_person_comes_back_from_the_cameras_messages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / 'bag')]) == 0
    assert '671 messages of visualization_msgs/msg/MarkerArray' in capsys.readouterr().out
    found = read_rosbag(tmp_path / 'bag', layout='k4a32')
    [seen] = found.persons.values()
    truth = in_camera(whole_recording(str(EXERCISE_FILE), 60.0, 30.0).persons['0'].astype(float))
    mapped, _ = layout('k4a32').to_model(seen)
    apart = np.linalg.norm(mapped - truth[: len(mapped)], axis=-1)
    assert apart[:, [0, 1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16]].max() < 0.03
    assert apart.mean() < 0.03
    assert truth[0, 0] == pytest.approx([0.0, 0.1, AWAY_M], abs=0.2)  # ahead of the camera
    assert truth[0, 10, 1] < truth[0, 3, 1]  # y points down


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match='is there already'):
        write_bag(tmp_path)
    assert main([str(tmp_path)]) == 1
