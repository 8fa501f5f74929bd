# SPDX-License-Identifier: Apache-2.0
"""AMASS becomes stores, and wrong archives of it are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import sys
from typing import Any

import numpy as np
import pytest
from random_models import save_recording, walking
import torch

from motion_predictor.body.layout_table import LAYOUTS
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import RecordingError
from motion_predictor.model.config import WindowConfig
from training.data.clips import Clip
from training.data.prepare import main
from training.data.readers.amass import read_amass
from training.data.readers.smplh import SMPL22, smplh_kinematics
from training.data.readers.source import load_at
from training.data.store import open_store, StoreFacts, StoreWriter
from training.data.windows import load_window_set


def amass_arrays(frames: int = 400, **changes: Any) -> dict[str, Any]:
    """One archive as AMASS (SMPL+H G) has it."""
    generator = np.random.default_rng(0)
    time_s = np.arange(frames)[:, None] / 120.0
    arrays: dict[str, Any] = {
        'trans': np.cumsum(generator.normal(0.0, 1e-3, (frames, 3)), axis=0),
        'gender': np.array('female'),
        'mocap_framerate': np.array(120.0),
        'betas': generator.normal(size=16),
        'dmpls': np.zeros((frames, 8)),
        'poses': 0.3 * np.sin(time_s * generator.uniform(0.5, 3.0, 156)),
    }
    arrays.update(changes)
    return {name: value for name, value in arrays.items() if value is not None}


@pytest.fixture
def amass(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        root = tmp_path / 'AMASS'
        for data_set in ('CMU', 'MPI_HDM05', 'Transitions_mocap'):
            folder = root / data_set / 'subject1'
            folder.mkdir(parents=True, exist_ok=True)
            np.savez(folder / 'walk_poses.npz', **amass_arrays(**changes))
            np.savez(folder / 'shape.npz', betas=np.zeros(16))
        return root

    return write


def stick_figure(gender: str, betas: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """
    Stand in for SMPL+H, whose files are licensed.

    A rigid standing figure of SMPL's 22 joints that leans about x with the root's first angle.
    """
    assert gender == 'female'
    assert betas.shape == (16,)
    assert poses.shape[1] == 66
    rest = np.zeros((22, 3))
    for joint, parent in enumerate(SMPL22.parents[1:], start=1):
        side = {'l': 1.0, 'r': -1.0}.get(SMPL22.joints[joint][-1], 0.0)
        side = 0.0 if SMPL22.joints[joint] == 'collar' else side
        down = SMPL22.joints[joint].startswith(('hip', 'knee', 'ankle', 'foot'))
        out = 0.1 if SMPL22.joints[joint].startswith(('hip', 'shoulder', 'collar')) else 0.0
        rest[joint] = rest[parent] + [0.0, side * out, -0.3 if down else 0.12]
    lean = np.sin(poses[:, :1, None] * 0.1)
    return rest + lean * np.array([rest[:, 2] * 0.5, 0 * rest[:, 0], 0 * rest[:, 0]]).T


def test_amass_is_split_by_data_set_and_brought_to_the_rate(
    amass: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = amass()
    monkeypatch.setattr(
        'training.data.prepare_options.smplh_kinematics', lambda path: stick_figure
    )
    words = ['prepare', 'amass', str(root), '--body-model', 'smplh', '--out', str(tmp_path)]
    assert main([*words, '--rate', '60', '--quiet']) == 0
    for split, data_set in (('train', 'CMU'), ('val', 'HDM05'), ('test', 'Transitions')):
        store = open_store(tmp_path / 'amass' / split)
        assert [clip.subject for clip in store.clips] == [f'{data_set}/subject1']
        assert store.facts.skeleton == SMPL22
        assert store.positions.shape == (200, 22, 3)
        assert (store.facts.stride_s, store.facts.start_s) == (None, 3.0)
    trans = amass_arrays()['trans']
    np.testing.assert_allclose(store.positions[0, 0], trans[0], atol=1e-3)


def test_evaluation_windows_of_amass_follow_each_other_from_frame_180(tmp_path: Path) -> None:
    facts = StoreFacts(
        kind='amass', sources=(), skeleton=H36M17, rate_hz=60.0, source_rate_hz=(120.0,),
        split='test', stride_s=None, start_s=3.0,
    )  # fmt: skip
    with StoreWriter(tmp_path / 'amass' / 'test', facts) as writer:
        writer.add(Clip('a', 'b', 'c', walking(600, 0, 60.0), 60.0))
    window = WindowConfig(rate_hz=60.0, observed_frames=30, future_frames=120)
    assert load_window_set(tmp_path / 'amass' / 'test', window).start.tolist() == [180, 330]


def test_amass_can_be_turned_into_the_models_17_joints(amass: Callable[..., Path]) -> None:
    source = read_amass(amass(), stick_figure, joints='h36m17')
    assert source.skeleton == H36M17
    positions, rate_hz = source.clips[0].load()
    assert rate_hz == 120.0
    assert positions.shape == (400, 17, 3)
    expected, known = LAYOUTS['smpl22'].to_model(
        stick_figure('female', np.zeros(16), amass_arrays()['poses'][:, :66])
        + amass_arrays()['trans'][:, None]
    )
    assert known.all()
    np.testing.assert_allclose(positions, expected, atol=1e-5)


@pytest.mark.parametrize(
    'changes,message',
    [
        ({'poses': None}, 'lacks poses; it has'),
        ({'mocap_framerate': None}, 'lacks mocap_framerate'),
        ({'mocap_framerate': np.array(0.0)}, r'mocap_framerate=.*must lie in 1\.\.1000'),
        ({'mocap_framerate': np.array(20.0)}, 'recorded at 20 Hz, less than half of 60 Hz'),
        ({'poses': np.zeros((400, 63))}, r'poses: expected \(frames, 66 or more\)'),
        ({'poses': np.full((400, 156), np.nan)}, 'poses: holds NaN'),
        ({'trans': np.zeros((399, 3))}, r'trans: expected \(400, 3\), got \(399, 3\)'),
        ({'gender': np.array('unknown')}, "gender='unknown'"),
    ],
)
def test_wrong_amass_archives_are_refused(
    amass: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    clip = read_amass(amass(**changes), stick_figure).clips[0]
    with pytest.raises(RecordingError, match=message):
        load_at(clip, 60.0)


def test_a_truncated_amass_archive_and_an_unknown_data_set_are_refused(
    amass: Callable[..., Path],
) -> None:
    root = amass()
    path = root / 'CMU' / 'subject1' / 'walk_poses.npz'
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(RecordingError, match=r'walk_poses\.npz: truncated'):
        read_amass(root, stick_figure).clips[0].load()
    (root / 'Mine').mkdir()
    with pytest.raises(RecordingError, match='Mine is none of the data sets of AMASS'):
        read_amass(root, stick_figure)


def smplh_arrays(vertices: int = 60) -> dict[str, np.ndarray]:
    """Return a made-up body in the layout of SMPL+H's npz, with few vertices and 24 joints."""
    generator = np.random.default_rng(1)
    regressor = generator.uniform(size=(24, vertices))
    weights = generator.uniform(size=(vertices, 24))
    parents = np.array([*SMPL22.parents, 20, 21])
    parents[0] = 2**32 - 1  # as in the originals
    return {
        'v_template': generator.normal(size=(vertices, 3)),
        'shapedirs': 0.03 * generator.normal(size=(vertices, 3, 16)),
        'posedirs': np.zeros((vertices, 3, 207)),
        'J_regressor': regressor / regressor.sum(axis=1, keepdims=True),
        'weights': weights / weights.sum(axis=1, keepdims=True),
        'kintree_table': np.stack([parents, np.arange(24)]),
    }


def test_joints_of_smplh_are_those_that_smplx_gives_with_its_whole_body(tmp_path: Path) -> None:
    lbs = pytest.importorskip('smplx').lbs
    body = smplh_arrays()
    (tmp_path / 'female').mkdir()
    np.savez(tmp_path / 'female' / 'model.npz', **body)
    generator = np.random.default_rng(2)
    betas, poses = generator.normal(size=16), generator.normal(0.0, 0.5, (7, 72))
    found = smplh_kinematics(tmp_path)('female', betas, poses[:, :66])
    as_tensor = {name: torch.from_numpy(array.astype(np.float32)) for name, array in body.items()}
    parents = torch.from_numpy(body['kintree_table'][0].astype(np.int64))
    parents[0] = -1
    _, expected = lbs.lbs(
        torch.from_numpy(betas[None].astype(np.float32)).expand(7, -1),
        torch.from_numpy(poses.astype(np.float32)),
        as_tensor['v_template'],
        as_tensor['shapedirs'],
        as_tensor['posedirs'].reshape(-1, 207).T,
        as_tensor['J_regressor'],
        parents,
        as_tensor['weights'],
    )
    np.testing.assert_allclose(found, expected[:, :22].numpy(), atol=1e-5)
    with pytest.raises(RecordingError, match='no model of gender male'):
        smplh_kinematics(tmp_path)('male', betas, poses[:, :66])
    with pytest.raises(RecordingError, match='no such file or folder'):
        smplh_kinematics(tmp_path / 'absent')
    del body['J_regressor']
    np.savez(tmp_path / 'female' / 'model.npz', **body)
    with pytest.raises(RecordingError, match='lacks J_regressor'):
        smplh_kinematics(tmp_path)('female', betas, poses[:, :66])


def test_without_smplx_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'smplx', None)
    with pytest.raises(RecordingError, match=r"smplx: pip install '\.\[amass\]'"):
        smplh_kinematics(Path('anything'))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    file = save_recording(tmp_path / 'walks' / 'test.npz', (80, 63))
    assert main(['prepare', 'npz', str(file), '--out', str(tmp_path), '--quiet']) == 0
    return tmp_path / 'npz' / 'test'
