# SPDX-License-Identifier: Apache-2.0
"""Decode ``PointCloud2`` by its fields alone: messages of rclpy and messages from a bag."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from motion_predictor.errors import MessageError
from motion_predictor.sources.observation import (
    DecodedPerson,
    InputFormat,
    MAX_POINTS,
    require_blocks,
    require_people,
    require_somebody,
    stamp_to_ns,
)

FIELD_TYPES: Mapping[int, str] = {
    1: 'i1',
    2: 'u1',
    3: 'i2',
    4: 'u2',
    5: 'i4',
    6: 'u4',
    7: 'f4',
    8: 'f8',
}
"""Types of ``PointField`` by its constants INT8 to FLOAT64."""
MAX_FIELDS = 1_000


def decode_point_cloud(message: Any, form: InputFormat) -> list[DecodedPerson]:
    """
    Read a cloud with the fields x y z and, optionally, person, joint and confidence.

    Without a joint field, the points of a person come in the layout's order. Without a person
    field too, they come in consecutive blocks of J points. A cloud without points shows nobody.

    :raises MessageError: if fields are missing or sizes do not fit each other.
    """
    used = {'x', 'y', 'z', form.person_field, form.joint_field, form.confidence_field}
    points = read_cloud(message, only=used)
    missing = {'x', 'y', 'z'} - set(points.dtype.names or ())
    if missing:
        has = [str(entry.name)[:20] for entry in message.fields[:20]]
        raise MessageError(
            f'fields: expected x, y, z, missing {", ".join(sorted(missing))}; '
            f'the cloud has {", ".join(has) or "none"}'
        )
    names = points.dtype.names or ()
    xyz = np.stack([points[axis].astype(np.float64) for axis in 'xyz'], axis=-1)  # (N, 3)
    confidence = np.full(len(points), np.nan)
    if form.confidence_field in names:
        confidence = points[form.confidence_field].astype(np.float64)
    has_person, has_joint = form.person_field in names, form.joint_field in names
    if not has_joint and not has_person:
        require_blocks('points', len(points), form.joints)
    nobody = np.zeros(len(points), dtype=bool)  # nothing tells to whom these points belong
    if has_person:
        person = points[form.person_field]
        if person.dtype.kind == 'f':
            nobody = ~(np.abs(person) < 2.0**62)  # this also refuses NaN
        person = np.where(nobody, -1, person).astype(np.int64)
    elif has_joint:
        person = np.zeros(len(points), dtype=np.int64)
    else:
        person = np.arange(len(points)) // form.joints
    joint = points[form.joint_field] if has_joint else None
    stamp_ns, frame = stamp_to_ns(message.header.stamp), message.header.frame_id
    numbers = dict.fromkeys(person[~nobody].tolist())
    require_people(len(numbers))
    people = []
    if nobody.any():
        flaw = f'field {form.person_field}: holds NaN or infinity'
        unknown = np.full((form.joints, 3), np.nan)
        people.append(DecodedPerson(stamp_ns, frame, '', unknown, unknown[:, 0], flaw))
    for number in numbers:
        rows = (person == number) & ~nobody
        flaw, empty = '', np.full((form.joints, 3), np.nan)
        placed = empty, empty[:, 0]
        try:
            placed = _place_joints(xyz[rows], confidence[rows], _rows(joint, rows), form, number)
        except MessageError as error:  # of this person
            flaw = str(error)
        people.append(DecodedPerson(stamp_ns, frame, str(number), *placed, flaw, has_person))
    require_somebody(people)
    return people


def read_cloud(
    message: Any, max_points: int = MAX_POINTS, only: Collection[str] = ()
) -> np.ndarray:
    """
    Return the points of a cloud as a structured array with named fields.

    :param max_points: larger clouds are refused; the node's own clouds hold more points than any
        tracker's.
    :param only: names of the fields to read; empty reads all of them.
    :returns: ``(N,)`` with one named column per field of a single element. The data are not copied
        if the rows are not padded.
    :raises MessageError: if sizes contradict each other, or if there are too many points.
    """
    count = int(message.width) * int(message.height)
    names, formats, offsets = [], [], []
    known: set[str] = set()
    if not only and len(message.fields) > MAX_FIELDS:
        raise MessageError(f'{len(message.fields)} fields: a cloud has {MAX_FIELDS} at most')
    order = '>' if message.is_bigendian else '<'
    for entry in message.fields:
        kind = FIELD_TYPES.get(entry.datatype)
        if kind is None or entry.count > 1 or not entry.name or entry.name in known:
            continue
        if only and entry.name not in only:
            continue
        known.add(entry.name)
        if entry.offset + np.dtype(kind).itemsize > message.point_step:
            raise MessageError(
                f'field {entry.name}: at offset {entry.offset} it ends beyond '
                f'point_step={message.point_step}'
            )
        names.append(entry.name)
        formats.append(order + kind)
        offsets.append(int(entry.offset))
    if count == 0:
        return np.zeros(0, dtype=list(zip(names or ['x', 'y', 'z'], formats or ['<f4'] * 3)))
    if count > max_points:
        raise MessageError(f'{count} points: a cloud of joints has {max_points} at most')
    step, row = int(message.point_step), int(message.row_step)
    if step < 1 or row < step * message.width or len(message.data) < row * message.height:
        raise MessageError(
            f'data: {len(message.data)} bytes and row_step={row} do not hold '
            f'{message.height} x {message.width} points of {step} bytes'
        )
    layout = {'names': names, 'formats': formats, 'offsets': offsets, 'itemsize': step}
    raw = np.frombuffer(message.data, dtype=np.uint8, count=row * message.height)
    used = raw.reshape(message.height, row)[:, : step * message.width]
    rows = np.ascontiguousarray(used).reshape(-1)
    return rows.view(np.dtype(layout))  # type: ignore[call-overload]


def _place_joints(
    xyz: np.ndarray,
    confidence: np.ndarray,
    joint: np.ndarray | None,
    form: InputFormat,
    person: int,
) -> tuple[np.ndarray, np.ndarray]:
    if joint is None:
        if len(xyz) != form.joints:
            raise MessageError(
                f'person {person}: expected {form.joints} points, one a joint, got {len(xyz)}'
            )
        return xyz, confidence
    valid = np.isfinite(joint) & (joint >= 0) & (joint < form.joints)
    if not valid.all():
        raise MessageError(
            f'person {person}: joint {joint[~valid][0]} is not in the layout, which has '
            f'0..{form.joints - 1}'
        )
    index = joint.astype(np.int64)
    placed = np.full((form.joints, 3), np.nan)
    trusted = np.full(form.joints, np.nan)
    placed[index], trusted[index] = xyz, confidence
    return placed, trusted


def _rows(column: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if column is None else column[rows]
