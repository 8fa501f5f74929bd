"""Data sets as they are passed on become stores, and wrong ones are refused."""

from __future__ import annotations

from collections.abc import Callable
import json
import os
from pathlib import Path
import pickle
import shutil
import sys
from typing import Any
import zipfile

from bvh_person import along_x, bvh_text
from bvh_person import walking as bvh_walking
import numpy as np
import pytest
from random_models import save_random, save_recording, walking
import torch

from motion_predictor.body.layout_table import LAYOUTS
from motion_predictor.body.skeleton import H36M17
from motion_predictor.body.skeleton_file import read_skeleton
from motion_predictor.errors import RecordingError
from motion_predictor.model.config import WindowConfig
from training.data.archives import read_object_archive
from training.data.clips import Clip
from training.data.prepare import main
from training.data.prepare_options import KINDS
from training.data.random_windows import Augmentation, TrainingWindows
from training.data.readers import source
from training.data.readers.amass import read_amass
from training.data.readers.bvh_folder import read_bvh_folder
from training.data.readers.h36m import H36M_JOINTS, HUMANEVA15, read_h36m, read_humaneva
from training.data.readers.smplh import SMPL22, smplh_kinematics
from training.data.readers.source import load_at
from training.data.store import MANIFEST, open_store, StoreFacts, StoreWriter
from training.data.windows import load_window_set
from training.judge.accuracy import evaluate

WINDOW = WindowConfig()
SUBJECTS = ('S1', 'S5', 'S6', 'S7', 'S8', 'S9', 'S11')


def h36m_content(**changes: Any) -> dict[str, Any]:
    """As VideoPose3D's preparation leaves it: 32 joints, of which 15 never move on their own."""
    content: dict[str, Any] = {}
    for number, subject in enumerate(SUBJECTS):
        frames = np.zeros((200, 32, 3), dtype=np.float32)
        frames[:, H36M_JOINTS] = walking(200, number)
        content[subject] = {'Walking 1': frames, 'Walking': frames[:150].copy()}
    content.update(changes)
    return {name: value for name, value in content.items() if value is not None}


@pytest.fixture
def h36m(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        path = tmp_path / 'data_3d_h36m.npz'
        np.savez_compressed(path, positions_3d=h36m_content(**changes))  # pickles the dict
        return path

    return write


def test_human36m_becomes_stores_of_17_joints_split_by_subject(
    h36m: Callable[..., Path], tmp_path: Path
) -> None:
    path = h36m()
    assert main(['prepare', 'h36m', str(path), '--out', str(tmp_path / 'st'), '--quiet']) == 0
    train, test = (open_store(tmp_path / 'st' / 'h36m' / split) for split in ('train', 'test'))
    assert {clip.subject for clip in train.clips} == {'S1', 'S5', 'S6', 'S7', 'S8'}
    assert {clip.subject for clip in test.clips} == {'S9', 'S11'}
    assert {clip.action for clip in test.clips} == {'Walking'}
    assert train.facts.skeleton == H36M17
    np.testing.assert_allclose(train.positions[:200], walking(200, 0), atol=1e-6)
    windows = load_window_set(tmp_path / 'st' / 'h36m' / 'test', WINDOW)
    assert windows.start.tolist() == 2 * [0, 25, 50, 75, 0, 25]  # every 25 frames of a clip
    manifest = json.loads((train.folder / MANIFEST).read_text())
    assert manifest['sources'][0]['file'] == 'data_3d_h36m.npz'
    assert len(manifest['sources'][0]['sha256']) == 64
    assert manifest['source_rate_hz'] == [50.0]


def test_subjects_can_be_kept_for_validation(h36m: Callable[..., Path]) -> None:
    source = read_h36m(h36m(), val=['S8'])
    assert {clip.subject for clip in source.clips if clip.split == 'val'} == {'S8'}
    with pytest.raises(RecordingError, match='--val S9: must be one of S1'):
        read_h36m(h36m(), val=['S9'])


@pytest.mark.parametrize(
    'changes,message',
    [
        ({'S9': None}, r'lacks subjects S9; it has S1'),
        (
            {'S1': {'Eating': np.zeros((9, 17, 3), np.float32)}},
            r'expected \(frames, 32',
        ),
        ({'S1': {'Eating': np.zeros((9, 32, 3), np.int32)}}, 'expected metres as floats'),
        ({'S1': {}}, 'S1: expected actions'),
        ({'S1': 7}, 'S1: expected actions'),
    ],
)
def test_wrong_human36m_archives_are_refused(
    h36m: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecordingError, match=message):
        read_h36m(h36m(**changes))


@pytest.mark.parametrize(
    'spoil,message',
    [
        (
            lambda poses: poses.__setitem__((7, 3, 1), np.nan),
            'in 1 of 200.*frame 7',
        ),
        (lambda poses: poses.__imul__(1000.0), r'coordinate of|moves at'),
        (lambda poses: poses.__setitem__(slice(100, None), poses[100:] + 3), 'wrong frame rate'),
    ],
)
def test_motion_that_cannot_be_is_refused_by_clip_and_frame(
    h36m: Callable[..., Path], tmp_path: Path, capsys: Any, spoil: Callable, message: str
) -> None:
    content = h36m_content()
    spoil(content['S6']['Walking 1'])
    path = h36m(S6=content['S6'])
    words = ['prepare', 'h36m', str(path), '--out', str(tmp_path / 'st'), '--quiet']
    assert main(words) == 2
    error = capsys.readouterr().err
    assert 'S6 Walking 1' in error
    with pytest.raises(RecordingError, match=message):
        raise RecordingError(error)
    assert not list(tmp_path.glob('st/h36m/*'))  # nothing half-written, hidden or not
    assert main([*words, '--skip-bad']) == 0
    assert 'left out: S6 Walking 1' in capsys.readouterr().err
    names = {clip.name for clip in open_store(tmp_path / 'st' / 'h36m' / 'train').clips}
    assert 'S6 Walking' in names
    assert 'S6 Walking 1' not in names


def test_a_source_much_slower_than_the_store_is_refused(h36m: Callable[..., Path]) -> None:
    clip = read_h36m(h36m()).clips[0]
    with pytest.raises(RecordingError, match='recorded at 50 Hz, less than half of 120 Hz'):
        load_at(clip, 120.0)


def test_a_truncated_archive_is_refused(h36m: Callable[..., Path], tmp_path: Path) -> None:
    whole = h36m().read_bytes()
    for share in (0.0, 0.3, 0.9):
        path = tmp_path / 'cut.npz'
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(RecordingError, match='truncated'):
            read_h36m(path)
    damaged = bytearray(whole)
    middle = len(damaged) // 2
    damaged[middle : middle + 200] = bytes(200)
    path.write_bytes(bytes(damaged))
    with pytest.raises(RecordingError, match=r'damaged|refused'):
        read_h36m(path)


class Opener:
    """Unpickling one would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ('touch /tmp/never',)


def test_an_archive_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'evil.npz'
    np.savez(path, positions_3d=np.array({'S1': Opener()}, dtype=object))
    with pytest.raises(RecordingError, match=r'asks for (posix|nt)\.system, which is no array'):
        read_object_archive(path)


def test_archives_without_the_entry_or_of_other_content_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'other.npz'
    np.savez(path, positions=np.zeros(3))
    with pytest.raises(RecordingError, match=r"has no 'positions_3d'; it holds positions$"):
        read_object_archive(path)
    np.savez(path, positions_3d=np.zeros((3, 32, 3)))
    with pytest.raises(RecordingError, match='expected one pickled dict'):
        read_object_archive(path)
    np.savez(path, positions_3d=np.array([1, 'two', None], dtype=object))
    with pytest.raises(RecordingError, match='expected one pickled dict'):
        read_object_archive(path)
    with pytest.raises(RecordingError, match='no such file'):
        read_object_archive(tmp_path / 'absent.npz')


def test_archives_that_an_older_python_and_numpy_pickled_are_read(tmp_path: Path) -> None:
    poses = walking(5).astype(np.float64)
    text = pickle.dumps(np.array({'S1': {'a': poses}}, dtype=object), protocol=2)
    text = text.replace(b'numpy._core', b'numpy.core')  # one byte less: the lengths are lines
    path = tmp_path / 'old.npz'
    np.savez(path, positions_3d=np.array({'x': 1}, dtype=object))
    with zipfile.ZipFile(path) as archive:
        raw = archive.read('positions_3d.npy')
    header = raw[: raw.index(b'\n') + 1]
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('positions_3d.npy', header + text)
    np.testing.assert_array_equal(read_object_archive(path)['S1']['a'], poses)


def humaneva_content() -> dict[str, Any]:
    body = walking(160)[:, [0, 8, 11, 12, 13, 14, 15, 16, 4, 5, 6, 1, 2, 3, 10]]
    content: dict[str, Any] = {
        f'{part}/S{i}': {'Jog 1 chunk0': body, 'Walking 1 chunk0': body, 'Walking 1 chunk4': body}
        for part in ('Train', 'Validate')
        for i in (1, 2, 3)
    }
    return content


def test_humaneva_keeps_its_15_joints_its_rate_and_the_protocols_omissions(tmp_path: Path) -> None:
    path = tmp_path / 'data_3d_humaneva15.npz'
    np.savez_compressed(path, positions_3d=humaneva_content())
    words = ['prepare', 'humaneva', str(path), '--out', str(tmp_path), '--rate', '60', '--quiet']
    assert main(words) == 0
    train = open_store(tmp_path / 'humaneva' / 'train')
    assert train.facts.skeleton == HUMANEVA15
    assert train.facts.rate_hz == 60.0
    names = [clip.name for clip in train.clips]
    assert len(names) == 8
    assert 'Train/S3 Walking 1 chunk0' not in names
    assert {clip.action for clip in train.clips} == {'Jog', 'Walking'}
    assert len(read_humaneva(path, keep_all=True).clips) == 18
    left, right = HUMANEVA15.index('LWrist'), HUMANEVA15.index('RWrist')
    assert HUMANEVA15.mirror[left] == right


def test_humaneva_of_other_joints_or_without_a_subject_is_refused(tmp_path: Path) -> None:
    content = humaneva_content()
    path = tmp_path / 'humaneva.npz'
    np.savez(path, positions_3d={**content, 'Train/S1': {'Jog 1': walking(9)}})
    with pytest.raises(RecordingError, match=r'Train/S1 Jog 1: expected \(frames, 15, 3\)'):
        read_humaneva(path)
    del content['Validate/S2']
    np.savez(path, positions_3d=content)
    with pytest.raises(RecordingError, match='lacks subjects Validate/S2'):
        read_humaneva(path)


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


def test_a_store_and_the_file_it_was_made_from_give_the_same_windows(tmp_path: Path) -> None:
    file = save_recording(tmp_path / 'walks' / 'train.npz', (80, 63, 200))
    assert main(['prepare', 'npz', str(file), '--out', str(tmp_path / 'st'), '--quiet']) == 0
    folder = tmp_path / 'st' / 'npz' / 'train'
    from_file, from_store = (load_window_set(path, WINDOW) for path in (file, folder))
    np.testing.assert_array_equal(from_file.poses, from_store.poses)
    assert from_file.actions == from_store.actions
    drawn = [
        TrainingWindows.load([path], WINDOW).draw(
            32, torch.Generator().manual_seed(3), Augmentation()
        )
        for path in (file, folder)
    ]
    assert torch.equal(*drawn)


def test_stores_and_files_are_drawn_from_together_and_stay_on_disk(tmp_path: Path) -> None:
    first = save_recording(tmp_path / 'a' / 'train.npz', (80, 63))
    second = save_recording(tmp_path / 'b' / 'train.npz', (100,), seed=5)
    assert main(['prepare', 'npz', str(second), '--out', str(tmp_path), '--quiet']) == 0
    store = tmp_path / 'npz' / 'train'
    both = TrainingWindows.load([first, second], WINDOW)
    mixed = TrainingWindows.load([first, store], WINDOW)
    assert torch.equal(mixed.starts, both.starts)
    for augmentation in (None, Augmentation()):
        drawn = [w.draw(64, torch.Generator().manual_seed(0), augmentation) for w in (both, mixed)]
        assert torch.equal(*drawn)
    assert isinstance(open_store(store).positions, np.memmap)
    before = (store / 'positions.npy').read_bytes()
    mixed.parts[1][0] = 7.0  # what is in memory may be changed, the file stays
    assert (store / 'positions.npy').read_bytes() == before


@pytest.fixture
def store(tmp_path: Path) -> Path:
    file = save_recording(tmp_path / 'walks' / 'test.npz', (80, 63))
    assert main(['prepare', 'npz', str(file), '--out', str(tmp_path), '--quiet']) == 0
    return tmp_path / 'npz' / 'test'


def changed_manifest(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    for name, value in changes.items():
        if value is None:
            del manifest[name]
        else:
            manifest[name] = value
    (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    'changes,message',
    [
        ({'format': 'something'}, 'not the manifest of a motion_predictor motion store'),
        ({'version': 2}, 'version 2; this release reads 1'),
        ({'files': None}, "lacks 'files'"),
        ({'skeleton': None}, "lacks 'skeleton'"),
        ({'skeleton': {'name': 'x'}}, 'skeleton'),
        ({'split': 'exam'}, "split 'exam': must be one of"),
        ({'rate_hz': -50.0}, r'rate_hz=-50: must lie in 1\.\.1000'),
        ({'rate_hz': 'fast'}, 'not a manifest'),
        ({'frames': 999}, r'expected \(999, 17, 3\) float32'),
        ({'clips': [['a', 'b']]}, 'not a manifest'),
        ({'clips': [['a', 'b', 'c']]}, 'expected 2 offsets rising'),
        ({'windows': {'stride_s': 0.0, 'start_s': 0.0}}, 'stride_s=0'),
    ],
)
def test_a_bad_manifest_is_refused(store: Path, changes: dict[str, Any], message: str) -> None:
    changed_manifest(store, **changes)
    with pytest.raises(RecordingError, match=message):
        open_store(store)


def test_a_manifest_that_is_no_json_or_absent_is_refused(store: Path, tmp_path: Path) -> None:
    (store / MANIFEST).write_text('{')
    with pytest.raises(RecordingError, match='cannot be read as JSON'):
        open_store(store)
    with pytest.raises(RecordingError, match=r'it has no manifest\.json'):
        open_store(tmp_path)


def test_a_changed_byte_is_found_by_its_checksum(store: Path, capsys: Any) -> None:
    assert main(['verify', str(store)]) == 0
    path = store / 'positions.npy'
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(bytes(content))
    assert main(['info', str(store)]) == 0
    assert main(['verify', str(store)]) == 2
    assert 'positions.npy: SHA-256 is' in capsys.readouterr().err


def test_a_truncated_or_missing_array_is_refused_at_once(store: Path) -> None:
    path = store / 'positions.npy'
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RecordingError, match=r'positions\.npy: \d+ bytes, the manifest says'):
        open_store(store)
    path.unlink()
    with pytest.raises(RecordingError, match=r'positions\.npy: missing'):
        open_store(store)


def test_a_store_is_replaced_only_when_asked(store: Path, tmp_path: Path, capsys: Any) -> None:
    words = ['prepare', 'npz', str(tmp_path / 'walks'), '--out', str(tmp_path), '--quiet']
    assert main(words) == 2
    assert '--overwrite replaces a store' in capsys.readouterr().err
    assert main([*words, '--overwrite']) == 0


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(
    h36m: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    assert main(['prepare', 'h36m', str(h36m()), '--out', str(tmp_path / 'st'), '--dry-run']) == 0
    said = capsys.readouterr().out
    assert '14 clips from 1 files' in said
    assert 'h36m/test: 4 clips of S11, S9, at 50 Hz' in said
    assert not (tmp_path / 'st').exists()


def test_every_kind_and_verb_has_a_worked_example(capsys: Any) -> None:
    for words in (['prepare', kind] for kind in KINDS):
        with pytest.raises(SystemExit):
            main([*words, '--help'])
        assert 'worked example' in capsys.readouterr().out
    for verb in ('info', 'verify'):
        with pytest.raises(SystemExit):
            main([verb, '--help'])
        assert 'worked example' in capsys.readouterr().out


def test_evaluate_takes_a_store_with_the_windows_of_its_file(store: Path, tmp_path: Path) -> None:
    weights = save_random(tmp_path / 'tiny.safetensors')
    out = tmp_path / 'store.json'
    words = ['--weights', str(weights), '--data', str(store), '--json', str(out)]
    words += ['--samples', '2', '--runs', str(tmp_path / 'kept'), '--quiet', '--device', 'cpu']
    assert evaluate.main(words) == 0
    result = json.loads(out.read_text())
    assert result['data'][0]['sha256'] == open_store(store).digest
    assert {(row['set'], row['split']) for row in result['rows']} == {('npz', 'test')}
    window = load_window_set(tmp_path / 'walks' / 'test.npz', WINDOW).poses
    still = window[:, 24:25, 1:] - window[:, 24:25, :1]
    real = window[:, 25:, 1:] - window[:, 25:, :1]
    ade = np.linalg.norm((real - still).reshape(len(real), 100, -1), axis=-1).mean()
    found = {row['model']: row['pose']['ade'] for row in result['rows']}
    assert found['zero_velocity'] == pytest.approx(ade, abs=1e-5)


BVH = """HIERARCHY
ROOT Base
{{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Elbow
  {{
    OFFSET 0 40 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    JOINT Tool
    {{
      OFFSET 0 30 0
      CHANNELS 3 Zrotation Xrotation Yrotation
      End Site
      {{
        OFFSET 0 5 0
      }}
    }}
  }}
}}
MOTION
Frames: {frames}
Frame Time: {step}
{values}
"""
ARM = {
    'name': 'arm3',
    'joints': ['base', 'elbow', 'tool'],
    'parents': {'elbow': 'base', 'tool': 'elbow'},
    'zero_is_missing': False,
}
ARM_MAPPING = {
    'joints': ['Base', 'Elbow', 'Tool'],
    'mapping': {'base': 'Base', 'elbow': 'Elbow', 'tool': {'Elbow': 0.1, 'Tool': 0.9}},
}


@pytest.fixture
def arm_bvh(tmp_path: Path) -> Path:
    for subject in ('left', 'right'):
        folder = tmp_path / 'bvh' / subject
        folder.mkdir(parents=True)
        lines = [
            f'0 0 0 {30 * np.sin(i / 20):.6f} 0 0 {20 * np.cos(i / 15):.6f} 0 0 0 0 0'
            for i in range(200)
        ]
        text = BVH.format(frames=len(lines), step=0.02, values='\n'.join(lines))
        (folder / 'move_1.bvh').write_text(text)
    (tmp_path / 'arm.json').write_text(json.dumps(ARM))
    (tmp_path / 'arm_bvh.json').write_text(json.dumps(ARM_MAPPING))
    return tmp_path / 'bvh'


def test_a_folder_of_bvh_goes_through_its_mapping_file(arm_bvh: Path, tmp_path: Path) -> None:
    words = ['prepare', 'bvh', str(arm_bvh), '--out', str(tmp_path), '--name', 'arms', '--quiet']
    words += [
        '--skeleton',
        str(tmp_path / 'arm.json'),
        '--mapping',
        str(tmp_path / 'arm_bvh.json'),
    ]
    assert main([*words, '--units-scale', '0.01', '--test', 'right']) == 0
    train, test = (open_store(tmp_path / 'arms' / split) for split in ('train', 'test'))
    assert [clip.subject for clip in (*train.clips, *test.clips)] == ['left', 'right']
    assert train.facts.skeleton.joints == ('base', 'elbow', 'tool')
    first = train.positions[0]
    np.testing.assert_allclose(first[0], 0.0, atol=1e-6)
    np.testing.assert_allclose(first[1], [0.0, 0.0, 0.4], atol=1e-6)  # y up became z up
    angle = np.radians(20.0)
    turned = [0.0, -0.3 * 0.9 * np.sin(angle), 0.4 + 0.3 * 0.9 * np.cos(angle)]
    np.testing.assert_allclose(np.abs(first[2]), np.abs(turned), atol=1e-5)


@pytest.mark.parametrize(
    'options,message',
    [
        ({}, 'say how many metres'),
        ({'units_scale': 0.01, 'up': 'w'}, 'must be one of x, y, z'),
        ({'units_scale': 0.01, 'subject_pattern': '('}, '--subject'),
        ({'units_scale': 0.01, 'subject_pattern': 'left'}, r'must have a \(group\)'),
        ({'units_scale': 0.01, 'subject_pattern': '(nobody)'}, 'is not found in it'),
        ({'mapping': None}, 'need a --mapping'),
    ],
)
def test_bvh_options_that_cannot_work_are_refused(
    arm_bvh: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    skeleton = read_skeleton(tmp_path / 'arm.json')
    given = {'mapping': tmp_path / 'arm_bvh.json', 'skeleton': skeleton, **options}
    with pytest.raises(RecordingError, match=message):
        read_bvh_folder(arm_bvh, **given)


def test_people_in_a_folder_of_bvh_are_read_as_judged_and_it_is_printed(
    tmp_path: Path, capsys: Any
) -> None:
    walk = bvh_walking(80, 25.0)
    for name, text in (
        ('a/one.bvh', bvh_text(walk)),
        ('a/two.bvh', bvh_text(along_x(walk))),
        ('b/child.bvh', bvh_text(walk.scaled(0.66), 1 / 0.0254)),
    ):
        (tmp_path / 'bvh' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'bvh' / name).write_text(text)
    words = ['prepare', 'bvh', str(tmp_path / 'bvh'), '--out', str(tmp_path), '--quiet']
    words += ['--rate', '25']
    assert main([*words, '--dry-run']) == 0
    assert 'a/one: 1 files: unit cm; y up, judged by the motion' in capsys.readouterr().out
    assert main(words) == 0
    said = capsys.readouterr().out
    assert 'bvh: 2 files: unit cm; y up, judged by the motion' in said
    assert 'bvh: 1 files: unit inch; y up, judged by the motion' in said
    store = open_store(tmp_path / 'bvh' / 'train')
    for begin in (0, 80):
        np.testing.assert_allclose(store.positions[begin : begin + 80], walk.truth(), atol=1e-4)
    assert main([*words, '--overwrite', '--units-scale', '0.02', '--up=-y']) == 0
    assert '3 files: unit 0.02 m as given; -y up as given' in capsys.readouterr().out
    upset = open_store(tmp_path / 'bvh' / 'train').positions[:80]
    expected = 2.0 * walk.truth() * [1.0, -1.0, -1.0]
    np.testing.assert_allclose(upset, expected, atol=1e-3)


def test_bvh_files_without_a_joint_or_damaged_are_refused(arm_bvh: Path, tmp_path: Path) -> None:
    skeleton = read_skeleton(tmp_path / 'arm.json')
    path = arm_bvh / 'left' / 'move_1.bvh'
    path.write_text(path.read_text().replace('Elbow', 'Knee'))
    mapping = tmp_path / 'arm_bvh.json'
    source = read_bvh_folder(arm_bvh, mapping=mapping, skeleton=skeleton, units_scale=0.01)
    with pytest.raises(RecordingError, match='has no joint Elbow; it has Base, Knee, Tool'):
        source.clips[0].load()
    path.write_text(path.read_text()[:900])
    with pytest.raises(RecordingError, match='not a BVH file that can be read'):
        source.clips[0].load()
    shutil.rmtree(arm_bvh / 'left')
    shutil.rmtree(arm_bvh / 'right')
    with pytest.raises(RecordingError, match=r'no \.bvh file'):
        read_bvh_folder(arm_bvh, mapping=mapping, skeleton=skeleton, units_scale=0.01)


def test_positions_of_other_joints_than_the_skeletons_are_refused(
    tmp_path: Path, capsys: Any
) -> None:
    file = save_recording(tmp_path / 'walks' / 'train.npz', (80,))
    (tmp_path / 'arm.json').write_text(json.dumps(ARM))
    words = ['prepare', 'npz', str(file), '--skeleton', str(tmp_path / 'arm.json')]
    assert main([*words, '--out', str(tmp_path)]) == 2
    assert 'expected (frames, 3, 3), got (80, 17, 3)' in capsys.readouterr().err
    assert source.split_of('bert', ['a*'], ['b*']) == 'test'
