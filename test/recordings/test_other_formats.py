# SPDX-License-Identifier: Apache-2.0
"""Other formats than BVH take the same overrides, and go through mapping files."""

from __future__ import annotations

import json
from pathlib import Path

from bvh_person import MAPPING, walking
import numpy as np
import pytest

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.open import open_recording
from motion_predictor.recordings.recording import Overrides

WALK = walking()
TRUTH = WALK.truth()


def test_other_formats_take_the_same_overrides(tmp_path: Path) -> None:
    path = tmp_path / 'clips.npz'
    optical = TRUTH[..., [1, 2, 0]] * 10.0  # y up, decimetres
    np.savez(path, positions=optical, offsets=np.array([0, 12]), names=['a'], fps=np.array(30))
    found = open_recording(path, overrides=Overrides(0.1, 'y', '', 60.0))
    np.testing.assert_allclose(found.persons['0'], TRUTH, atol=1e-5)
    assert found.rate_hz == 60.0
    assert 'as given: units_scale=0.1, rate=60, up=y' in found.source
    whole = np.rint(TRUTH * 100.0).astype(np.int16)  # centimetres, where millimetres are usual
    np.savez(path, positions=whole, offsets=np.array([0, 12]), names=['a'], fps=np.array(30))
    found = open_recording(path, overrides=Overrides(units_scale=0.01))
    np.testing.assert_allclose(found.persons['0'], TRUTH, atol=6e-3)


def test_other_formats_go_through_a_mapping_file_too(tmp_path: Path) -> None:
    path, mapping = tmp_path / 'clips.npz', tmp_path / 'map.json'
    np.savez(path, positions=TRUTH, offsets=np.array([0, 12]), names=['a'], fps=np.array(30))
    swapped = [
        name.replace('L', '#').replace('R', 'L').replace('#', 'R') if name[0] in 'LR' else name
        for name in H36M17.joints
    ]  # a tracker whose left is our right
    mapping.write_text(
        json.dumps({'joints': swapped, 'mapping': {joint: joint for joint in H36M17.joints}})
    )
    found = open_recording(path, overrides=Overrides(mapping=str(mapping))).persons['0']
    np.testing.assert_allclose(found[:, H36M17.mirror], TRUTH, atol=1e-5)
    mapping.write_text(json.dumps(MAPPING))
    with pytest.raises(RecordingError, match='has 17 joints; the mapping map is of 16'):
        open_recording(path, overrides=Overrides(mapping=str(mapping)))
