# SPDX-License-Identifier: Apache-2.0
"""A person in ASF and AMC files is put where the bones say, or refused with the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from acclaim_person import amc_text, asf_text, REST
import numpy as np
from numpy.typing import NDArray
import pytest

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.acclaim.body import read_asf
from motion_predictor.recordings.acclaim.motion import read_amc
from motion_predictor.recordings.open import open_recording
from motion_predictor.recordings.recording import Overrides, Recording


def read(
    tmp_path: Path, *frames: dict[str, tuple[float, ...]], length: float = 0.45, **given: Any
) -> Recording:
    (tmp_path / '07.asf').write_text(asf_text(length))
    (tmp_path / '07_01.amc').write_text(amc_text(*frames, length=length))
    return open_recording(tmp_path / '07_01.amc', overrides=Overrides(**given))


def joints(recording: Recording, frame: int = 0) -> dict[str, NDArray]:
    """Return the joints of a frame with y up, as the file has them."""
    poses = recording.persons['0'][frame]  # z up: (z, x, y) of the file
    return {name: poses[index][[1, 2, 0]] for index, name in enumerate(H36M17.joints)}


def expect(recording: Recording, frame: int = 0, **moved: tuple[float, ...]) -> None:
    found = joints(recording, frame)
    for name, place in {**REST, **moved}.items():
        assert found[name] == pytest.approx(place, abs=1e-5), name


@pytest.mark.parametrize('length', [0.45, 1.0])
def test_a_body_at_rest_stands_in_metres_whatever_the_length_of_a_unit(
    tmp_path: Path, length: float
) -> None:
    recording = read(tmp_path, {}, {}, length=length)
    expect(recording)
    assert recording.rate_hz == 120.0
    assert f'unit {0.0254 / length:.6g} m, y up, 120 Hz, the rate of CMU' in recording.source


def test_a_bone_turns_about_its_own_axes_and_carries_those_below(tmp_path: Path) -> None:
    # the left upper arm's own x is the world's y: it swings forwards and back, not up
    recording = read(tmp_path, {}, {'lhumerus': (90.0, 0.0, 0.0)})
    expect(recording, 0)
    expect(recording, 1, LElbow=(0.2, 1.4, -0.3), LWrist=(0.2, 1.4, -0.55))
    # a knee without axes of its own bends about the world's x
    recording = read(tmp_path, {'ltibia': (90.0,)})
    expect(recording, LAnkle=(0.1, 0.5, -0.4))


def test_the_first_angle_turns_first(tmp_path: Path) -> None:
    # down the neck: x by 90 leads to z, then y by 90 to x; the other order would leave it at z
    recording = read(tmp_path, {'upperneck': (90.0, 90.0, 0.0)})
    expect(recording, Nose=(0.2, 1.4, 0.0), Head=(0.3, 1.4, 0.0))


def test_the_root_moves_and_turns_the_whole_body(tmp_path: Path) -> None:
    recording = read(tmp_path, {'root': (2.0, 1.0, 3.0, 0.0, 90.0, 0.0)})
    turned = {name: (2 + z, y, 3 - x) for name, (x, y, z) in REST.items()}
    expect(recording, **turned)


def test_given_facts_replace_those_of_the_format(tmp_path: Path) -> None:
    recording = read(tmp_path, {}, rate_hz=60.0, units_scale=0.0254 / 0.9, up='x')
    assert recording.rate_hz == 60.0
    head = recording.persons['0'][0, H36M17.index('Head')]
    assert head == pytest.approx((0.85, 0.0, 0.0), abs=1e-5)  # half as large, y to the first axis
    assert '60 Hz as given' in recording.source


def test_a_mapping_file_names_other_bones(tmp_path: Path) -> None:
    bones = {
        'RHip': 'rhipjoint', 'RKnee': 'rfemur', 'RAnkle': 'rtibia', 'LHip': 'lhipjoint',
        'LKnee': 'lfemur', 'LAnkle': 'ltibia', 'Thorax': 'thorax', 'LShoulder': 'lclavicle',
        'LElbow': 'lhumerus', 'LWrist': {'lhumerus': 0.5, 'lradius': 0.5},
        'RShoulder': 'rclavicle', 'RElbow': 'rhumerus', 'RWrist': 'rradius', 'Spine': 'root',
    }  # fmt: skip
    names = sorted({name for bone in bones.values() for name in ([bone] if isinstance(bone, str)
                    else bone)})  # fmt: skip
    file = tmp_path / 'mine.json'
    file.write_text(json.dumps({'joints': names, 'mapping': bones}))
    found = joints(read(tmp_path, {}, mapping=str(file)))
    assert found['Spine'] == pytest.approx((0.0, 1.0, 0.0), abs=1e-5)
    assert found['LWrist'] == pytest.approx((0.625, 1.4, 0.0), abs=1e-5)
    file.write_text(json.dumps({'joints': [*names, 'tail'], 'mapping': bones}))
    with pytest.raises(RecordingError, match=r'has no bone tail; it has root, lhipjoint'):
        read(tmp_path, {}, mapping=str(file))


@pytest.mark.parametrize(
    'old, new, error',
    [
        (':bonedata', ':bones', 'no :bonedata'),
        ('length 0.45', 'length 0', 'length 0 of :units'),
        ('angle deg', 'angle turns', "angle 'turns' of :units; expected deg or rad"),
        ('order TX TY TZ', 'order TX TY', "order 'TX TY RX RY RZ' of :root"),
        ('axis XYZ', 'axis XYY', "axis 'XYY' of :root"),
        ('dof rx ry rz', 'dof rx ry l', "dof 'rx ry l' of lfemur; only rx, ry and rz"),
        ('direction 0.000000000 -1', 'direction 0 nan', 'direction of lfemur: .*3 numbers'),
        ('name ltibia', 'name lfemur', 'two bones are named lfemur'),
        ('name thorax', 'name root', "a bone is named 'root'"),
        ('    lfemur ltibia\n', '', 'no way from the root to ltibia'),
        ('    lfemur ltibia\n', '    lfemur root\n', 'the bone root of :hierarchy'),
        ('    lfemur ltibia\n', '    lfemur tail\n', 'the bone tail of :hierarchy is not in'),
        ('  end\n:hierarchy', ':hierarchy', "the bone 'rradius' has no end"),
        ('  end\n  begin', '  begin', 'a begin within a bone'),
    ],
)
def test_a_damaged_body_is_refused_with_its_fault(
    tmp_path: Path, old: str, new: str, error: str
) -> None:
    path = tmp_path / '07.asf'
    assert old in asf_text()
    path.write_text(asf_text().replace(old, new, 1))
    with pytest.raises(RecordingError, match=rf'^{path}: not an ASF file.*{error}'):
        read_asf(path)


@pytest.mark.parametrize(
    'old, new, error',
    [
        ('1\nroot', 'root', r"line 4: 'root.*before the first frame"),
        ('ltibia 0\n', '', 'frame 1: no values of ltibia; cut off'),
        ('ltibia 0\n', 'ltibia 0 0\n', 'line 7, frame 1: ltibia has 2 values; its dof are 1'),
        ('ltibia 0\n', 'ltibia zero\n', "line 7, frame 1: 'ltibia zero': expected numbers"),
        ('ltibia 0\n', 'ltibia inf\n', "line 7, frame 1: 'ltibia inf': expected finite"),
        ('ltibia 0\n', 'tail 0\n', "line 7, frame 1: the ASF file has no bone 'tail'"),
        (':DEGREES', ':RADIANS', ':RADIANS, but :units of the ASF file'),
    ],
)
def test_a_damaged_motion_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, error: str
) -> None:
    (tmp_path / '07.asf').write_text(asf_text())
    path, text = tmp_path / '07_01.amc', amc_text({}, {})
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(RecordingError, match=rf'^{path}: not an AMC file.*{error}'):
        open_recording(path)


def test_a_motion_cut_anywhere_is_refused_or_whole(tmp_path: Path) -> None:
    (tmp_path / '07.asf').write_text(asf_text())
    body = read_asf(tmp_path / '07.asf')
    path, text = tmp_path / '07_01.amc', amc_text({}, {'ltibia': (12.5,)})
    whole = read_amc_of(path, text)
    refused = 0
    for end in range(0, len(text) - 1, 7):
        path.write_text(text[:end])
        try:
            found = read_amc(path, body)
        except RecordingError:
            refused += 1
        else:  # the last number of the last line may be cut
            assert np.array_equal(found[:, :-1], whole[: len(found), :-1])
    assert refused > 10


def read_amc_of(path: Path, text: str) -> NDArray:
    path.write_text(text)
    return read_amc(path, read_asf(path.with_name('07.asf')))


def test_the_body_beside_a_motion_is_found_or_named(tmp_path: Path) -> None:
    path = tmp_path / '07_01.amc'
    path.write_text(amc_text({}))
    with pytest.raises(RecordingError, match=r'07\.asf or the only one; found none'):
        open_recording(path)
    (tmp_path / 'any.asf').write_text(asf_text())
    expect(open_recording(path))
    (tmp_path / 'other.asf').write_text(asf_text())
    with pytest.raises(RecordingError, match=r'found any\.asf, other\.asf'):
        open_recording(path)
    (tmp_path / '07.asf').write_text(asf_text())
    expect(open_recording(path))


def test_a_body_that_is_no_person_is_refused_by_its_bones(tmp_path: Path) -> None:
    (tmp_path / '07.asf').write_text(asf_text().replace('lradius', 'paw'))
    (tmp_path / '07_01.amc').write_text(amc_text({}).replace('lradius', 'paw'))
    with pytest.raises(RecordingError, match=r'has no bone lradius; it has root.*mapping file'):
        open_recording(tmp_path / '07_01.amc')
