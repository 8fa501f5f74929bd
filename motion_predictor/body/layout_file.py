# SPDX-License-Identifier: Apache-2.0
"""Find a layout by its name, or read it from a mapping file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from motion_predictor.body.layout import IDENTITY, Layout, MAX_NAME, Source, suggest
from motion_predictor.body.layout_table import LAYOUTS
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.common.files import brief, read_file, refused
from motion_predictor.errors import SkeletonError

MAX_FILE_BYTES = 256 * 1024
MAX_YAML_DEPTH = 16
_FILE_KEYS = (
    'name', 'joints', 'mapping', 'units', 'thorax_rise_m', 'nose_ahead_m', 'head_towards',
)  # fmt: skip


def layout(name_or_path: str | Path, target: Skeleton = H36M17) -> Layout:
    """
    Return the layout of a name, or read a mapping file.

    :param name_or_path: one of :data:`LAYOUTS`, :data:`IDENTITY` or the target's own name, or a
        file ending in .json, .yaml or .yml; see :func:`read_layout`.
    :param target: skeleton of the model.
    :raises SkeletonError: if there is no such layout or file (the error names the closest layout),
        or if the layout describes people and the model does not.
    """
    text = str(name_or_path)
    if text in (IDENTITY, target.name) and text not in LAYOUTS:
        return Layout(text, target.joints, {j: j for j in target.joints}, target=target)
    if text in LAYOUTS:
        if target.joints != H36M17.joints:
            raise SkeletonError(
                f'skeleton layout {text!r} is one of people; the model has the joints of '
                f'{target.name}: give {IDENTITY!r} where they come in its order '
                f'({", ".join(target.joints)}), or a mapping file (.json, .yaml)'
            )
        return LAYOUTS[text]
    if Path(text).suffix.lower() in ('.json', '.yaml', '.yml'):
        return read_layout(text, target)
    raise SkeletonError(
        f'skeleton layout {text!r} is not known{suggest(text, LAYOUTS)}; there are '
        f'{", ".join(LAYOUTS)}, or give a mapping file (.json, .yaml)'
    )


def read_layout(path: str | Path, target: Skeleton = H36M17) -> Layout:
    """
    Read the mapping file of a custom skeleton.

    The file is JSON, or YAML if PyYAML is installed, with these keys:

    - ``joints`` (required): the list of the publisher's joint names, in the order in which it
      sends them;
    - ``mapping`` (required): for each joint of the model a name from ``joints``, or ``{name:
      weight, ...}`` with weights that sum to 1; for a person, Hip, Spine, Nose and Head may be
      left out and are then derived;
    - ``head_towards``: the list of joints whose mean shows where the head is (both ears, or the
      skull); it is used if Head is left out;
    - ``thorax_rise_m``, ``nose_ahead_m``: as in :class:`Layout`;
    - ``name``, ``units``: text.

    :param path: the file.
    :param target: skeleton of the model.
    :raises SkeletonError: if the file cannot be read or does not describe a skeleton.
    """
    path = Path(path)
    raw = read_file(path, SkeletonError, MAX_FILE_BYTES)
    with refused(path, 'is no mapping file that can be used', SkeletonError):
        return _layout_of(path, _parse(path, raw.decode('utf-8-sig')), target)


def _layout_of(path: Path, content: Any, target: Skeleton) -> Layout:
    if not isinstance(content, dict):
        raise SkeletonError(f'mapping file {path}: expected named values at the top, see README')
    unknown = sorted(str(key) for key in content if key not in _FILE_KEYS)
    if unknown:
        raise SkeletonError(
            f'mapping file {path}: unknown key {brief(unknown[0])!r}'
            f'{suggest(unknown[0][:100], _FILE_KEYS)}; '
            f'known are {", ".join(_FILE_KEYS)}'
        )
    for key in ('joints', 'mapping'):
        if key not in content:
            raise SkeletonError(f'mapping file {path}: lacks {key!r}')
    names = {key: content.get(key, []) for key in ('joints', 'head_towards')}
    for key, value in names.items():
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise SkeletonError(f'mapping file {path}: {key} must be a list of names')
    numbers = {key: content.get(key, 0.0) for key in ('thorax_rise_m', 'nose_ahead_m')}
    for key, value in numbers.items():
        if not _is_number(value):
            raise SkeletonError(
                f'mapping file {path}: {key}={brief(repr(value))}: must be a number'
            )
    name = str(content.get('name', path.stem))
    if max(map(len, (name, *names['joints']))) > MAX_NAME:
        raise SkeletonError(f'mapping file {path}: a name of more than {MAX_NAME} characters')
    return Layout(
        name=name,
        joints=tuple(names['joints']),
        mapping=_read_mapping(path, content['mapping']),
        units=str(content.get('units', 'm')),
        head_towards=tuple(names['head_towards']),
        target=target,
        **{key: float(value) for key, value in numbers.items()},
    )


def _parse(path: Path, text: str) -> Any:
    if path.suffix.lower() == '.json':
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SkeletonError(f'mapping file {path}: not valid JSON ({brief(error)})') from None
    try:
        import yaml
    except ImportError:
        raise SkeletonError(
            f'mapping file {path}: reading YAML needs PyYAML (python3-yaml); '
            f'install it or write the file as JSON'
        ) from None
    try:
        _check_yaml(path, yaml, text)
        return yaml.safe_load(text)
    except SkeletonError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SkeletonError(f'mapping file {path}: not valid YAML ({brief(error)})') from None


def _check_yaml(path: Path, yaml: Any, text: str) -> None:
    """Refuse YAML that grows when it is read: aliases, and deep nesting of quadratic cost."""
    depth = 0
    for event in yaml.parse(text):
        if isinstance(event, yaml.AliasEvent):
            raise SkeletonError(f'mapping file {path}: aliases (*name) are not read')
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_YAML_DEPTH:
                raise SkeletonError(
                    f'mapping file {path}: nested more than {MAX_YAML_DEPTH} deep; a mapping '
                    f'needs 3'
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _read_mapping(path: Path, mapping: Any) -> dict[str, Source]:
    if not isinstance(mapping, dict):
        raise SkeletonError(f'mapping file {path}: mapping must hold named values')
    for joint, source in mapping.items():
        weighted = isinstance(source, dict) and all(
            isinstance(name, str) and _is_number(weight) for name, weight in source.items()
        )
        if not isinstance(joint, str) or not (isinstance(source, str) or weighted):
            raise SkeletonError(
                f'mapping file {path}: mapping of {brief(repr(joint))} is {brief(repr(source))}; '
                f'it must be a joint name or {{name: weight, ...}}'
            )
    return mapping


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
