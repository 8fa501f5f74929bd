# SPDX-License-Identifier: Apache-2.0
"""Damaged and hostile files of mappings and skeletons raise one kind of error, which names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.body.skeleton_file import read_skeleton
from motion_predictor.errors import SkeletonError

DEEP = '[' * 100_000


NAMES = [joint.lower() for joint in H36M17.joints]
MAPPING = {'joints': NAMES, 'mapping': dict(zip(H36M17.joints, NAMES))}


def mapping(**changes: Any) -> str:
    return json.dumps({**MAPPING, **changes})


def weighed(weight: Any) -> str:
    return mapping(mapping={**MAPPING['mapping'], 'Nose': {'nose': weight, 'head': 1.0}})


JSONS = {
    'deep': DEEP,
    'deep inside': '{"a":' * 20_000,
    'NaN': 'NaN',
    'text': '"text"',
    'no UTF-8': '\udcff{',
    'a key of 100 000 letters': json.dumps({'x' * 100_000: 1}),
    'a number of 400 digits': mapping(thorax_rise_m=10**400),
    'a weight of 400 digits': weighed(10**400),
    'a weight that is NaN': weighed(float('nan')),
    'a weight of 9000 digits': weighed(1).replace('"nose": 1,', f'"nose": {"1" * 9000},'),
    'joints of lists': mapping(joints=[[1], [2]]),
    'mapping of nothing': mapping(mapping={'Nose': {}}),
    'a name of 100 000 letters': mapping(name='x' * 100_000),
    'towards numbers': mapping(head_towards=[1]),
}


@pytest.mark.parametrize('suffix', ['.json', '.yaml'])
@pytest.mark.parametrize('text', JSONS.values(), ids=JSONS)
def test_damaged_mapping_files_are_refused(tmp_path: Path, text: str, suffix: str) -> None:
    path = tmp_path / f'joints{suffix}'
    path.write_text(text, errors='surrogateescape')
    with pytest.raises(SkeletonError) as error:
        layout(str(path))
    assert len(str(error.value)) < 1500


YAMLS = {
    'flow': '[' * 200_000,
    'flow of names': '{a: ' * 60_000,
    'block': ''.join(f'{" " * depth}a:\n' for depth in range(600)),
    'lists': '- ' * 100_000,
    'questions': '? ' * 100_000,
    'alias': 'a: &a [1]\nb: *a',
    'itself': '&a [*a]',
    'timestamp': 'joints: !!timestamp "soon"',
    'date': 'joints: 2024-99-99',
    'number': 'joints: !!int ""',
    'fraction': 'joints: !!float ""',
    'truth': 'joints: !!bool maybe',
    'bytes': 'joints: !!binary "\xe4"',
    'list as a key': '? [a]\n: b',
    'object': '!!python/object/apply:os.system [ls]',
    'tag': 'joints: !nonesuch x',
    'control': 'joints: "\x01"',
    'two documents': 'a: 1\n---\nb: 2',
    'a long number': f'thorax_rise_m: {"9" * 9000}',
    'sexagesimal': f'thorax_rise_m: 1{":59" * 3000}',
}


@pytest.mark.parametrize('text', YAMLS.values(), ids=YAMLS)
def test_yaml_that_swells_or_breaks_its_reader_is_refused(tmp_path: Path, text: str) -> None:
    pytest.importorskip('yaml')
    path = tmp_path / 'joints.yaml'
    path.write_text(text)
    with pytest.raises(SkeletonError, match=r'joints\.yaml'):
        layout(str(path))


SKELETON = {
    'joints': ['base', 'arm', 'tool'],
    'parents': {'arm': 'base', 'tool': 'arm'},
    'bones_m': {'arm': 0.4, 'tool': 0.3},
}
SKELETONS: dict[str, Any] = {
    'mirror': {'mirror': 5},
    'mirror of text': {'mirror': 'ab'},
    'mirror of lists': {'mirror': [[['arm'], ['tool']]]},
    'left': {'heading': {'left': [5]}},
    'ahead': {'heading': {'ahead': {}}},
    'bones of 400 digits': {'bones_m': {'arm': 10**400, 'tool': 1}},
    'bones of NaN': {'bones_m': {'arm': float('nan'), 'tool': 1}},
    'no joints': {'joints': [], 'parents': {}},
    'parents of lists': {'parents': {'arm': ['base'], 'tool': None}},
    'root': {'root': ['base']},
}


@pytest.mark.parametrize(
    'text',
    [DEEP, '{"a":' * 20_000, '', '5', '\udcff', *(
        json.dumps({**SKELETON, **changes}) for changes in SKELETONS.values()
    )],
    ids=['deep', 'deep inside', 'empty', 'number', 'no UTF-8', *SKELETONS],
)  # fmt: skip
def test_damaged_skeleton_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'arm.json'
    path.write_text(text, errors='surrogateescape')
    with pytest.raises(SkeletonError, match=r'arm\.json'):
        read_skeleton(path)
