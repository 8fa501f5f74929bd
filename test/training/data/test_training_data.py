# SPDX-License-Identifier: Apache-2.0
"""Data sets as they are passed on become stores, and wrong ones are refused."""

from __future__ import annotations

from collections.abc import Callable
import json
import os
from pathlib import Path
import pickle
from typing import Any
import zipfile

import numpy as np
import pytest
from random_models import save_random, save_recording, walking
import torch

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import RecordingError
from motion_predictor.model.config import WindowConfig
from training.data.archives import read_object_archive
from training.data.prepare import main
from training.data.prepare_options import KINDS
from training.data.random_windows import Augmentation, TrainingWindows
from training.data.readers.h36m import H36M_JOINTS, HUMANEVA15, read_h36m, read_humaneva
from training.data.readers.source import load_at
from training.data.store import MANIFEST, open_store
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


@pytest.mark.slow
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
