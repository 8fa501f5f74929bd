# SPDX-License-Identifier: Apache-2.0
"""Read people from rosbag2 recordings without ROS, by the same decoders as the node's.

Frames keep their own instants: the stamps of the messages, or the recording times if nothing is
stamped. A fault (a wrong stamp, a damaged message) only costs its own message and is reported in
``source``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from motion_predictor.body.layout import Layout
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import ConfigError, MessageError, RecordingError
from motion_predictor.recordings.bag.files import BagFiles
from motion_predictor.recordings.bag.people import followed
from motion_predictor.recordings.bag.stamps import in_order, Ordered
from motion_predictor.recordings.recording import Recording
from motion_predictor.sources.decoding import Decoder
from motion_predictor.sources.observation import message_header, Observation
from motion_predictor.sources.registry import KIND_OF_MESSAGE, layout_of, make_source
from motion_predictor.sources.source import AUTO
from motion_predictor.sources.tf.people import TF_MESSAGE, TF_TOPIC, TRACKED_TOPIC

USUAL_TOPIC = '/skeleton'
"""The node's usual input: it is taken where the bag holds others too, such as predictions."""
MAX_GAP_S = 10.0
"""A longer silence in a bag is shortened to this, in seconds, and reported."""
CLIP_GAP_S = 1.0
"""Time in seconds between clips: longer than any history bridges."""
MAX_BYTES = 4_000_000_000
STREAM_EACH = ('tf', 'hri', 'hiros')
"""Inputs in which each person is stamped separately."""


@dataclass(frozen=True, kw_only=True)
class BagInput:
    """The part of a bag to read, and how to read it: the node's ``input`` parameters."""

    topic: str = ''
    """Topic; empty takes the node's usual input, /skeleton, or else the only skeleton topic; '/tf'
    and '/humans/bodies/tracked' read TF."""
    layout: str | Layout = AUTO
    """Joints of the messages: a layout's name, 'identity' or a mapping file; 'auto' takes the
    usual layout of the messages' type."""
    pattern: str = AUTO
    """Pattern of names that tell person and joint (mocap4r2, tf, hri)."""
    fields: tuple[str, str, str] = ('person', 'joint', 'confidence')
    """For a cloud: names of its fields for person, joint and confidence."""
    target_frame: str = ''
    """For tf and hri: frame of the returned people; '' is the root of the tree."""


def fields_of(names: str | Sequence[str]) -> tuple[str, str, str]:
    """
    Read the names of a cloud's fields: person, joint, confidence.

    :raises RecordingError: if there are not three names.
    """
    parts = names.split() if isinstance(names, str) else list(names)
    if len(parts) != 3:
        raise RecordingError(
            f'fields {" ".join(parts)!r}: must be three names: person joint confidence'
        )
    return parts[0], parts[1], parts[2]


@dataclass
class _Seen:
    # The content of one message, or of one person in it.
    received_ns: int
    stamp_ns: int
    stream: str
    people: dict[str, np.ndarray]


@dataclass
class _Reading:
    # Everything found in the messages of a bag.
    seen: list[_Seen] = field(default_factory=list)
    frames: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    misfits: int = 0
    """Number of messages that do not fit the layout, or not completely."""
    refused: int = 0
    """Number of refused people in messages whose other people could be used."""
    beyond: int = 0
    """Number of joints that float32 cannot hold."""
    first_beyond: str = ''
    first_misfit: str = ''
    identified: bool = True
    """Whether the messages give people ids."""


def read_rosbag(
    path: Path,
    *,
    topic: str = '',
    layout: str | Layout = AUTO,
    skeleton: Skeleton = H36M17,
    wanted: BagInput | None = None,
) -> Recording:
    """
    Read people from a rosbag2, mcap or sqlite3, without ROS.

    Layout, units and frame of reference stay as recorded. If stamps jump back, a new clip begins,
    one second after the one before.

    :param path: the bag's folder, or its .mcap or .db3 file, compressed or not.
    :param topic: see :class:`BagInput`.
    :param layout: see :class:`BagInput`; its name is written into the recording.
    :param skeleton: the model's skeleton, to which 'auto' and 'identity' refer.
    :param wanted: instead of topic and layout: everything that can be chosen.
    :raises RecordingError: if the bag cannot be read, has no or several such topics, has messages
        that the layout does not fit, or has more than one frame of reference.
    :raises SkeletonError: if the layout is not known.
    """
    return read_bag(path, wanted or BagInput(topic=topic, layout=layout), skeleton)[0]


def read_bag(
    path: Path, wanted: BagInput, skeleton: Skeleton = H36M17
) -> tuple[Recording, Layout]:
    """
    Read people from a rosbag2, as :func:`read_rosbag`, and return the layout of their joints too.

    :raises RecordingError: see :func:`read_rosbag`.
    :raises SkeletonError: if the layout is not known.
    """
    with BagFiles(path) as bag:
        try:
            kind, topics = _choose(path, bag.topics, wanted)
        except RecordingError as error:
            raise RecordingError('; '.join([str(error), *bag.remarks])) from None
        joints = wanted.layout
        if not isinstance(joints, Layout):
            joints = layout_of(kind, joints, skeleton)
        try:
            source = make_source(
                kind,
                joints,
                pattern=wanted.pattern,
                fields=wanted.fields,
                target_frame=wanted.target_frame,
            )
        except ConfigError as error:
            raise RecordingError(f'{path}: {error}') from None
        reading = _read(bag, topics, Decoder(source, joints), kind)
        remarks = list(bag.remarks)
        if bag.damaged:
            remarks.append(f'{bag.damaged} damaged messages left out ({bag.first_damage})')
    if reading.misfits or reading.refused:
        remarks.append(
            f'{reading.misfits} messages and {reading.refused} people of others left out '
            f'({reading.first_misfit})'
        )
    if reading.beyond:
        remarks.append(f'{reading.beyond} joints left out ({reading.first_beyond})')
    remarks += [f'{name}: {times}' for name, times in source.counters.items() if times]
    _require_people(path, topics, joints, reading, remarks)
    _require_one_frame(path, topics, reading.frames)
    return _recording(path, joints, reading, remarks), joints


def _choose(
    path: Path, found: dict[str, set[str]], wanted: BagInput
) -> tuple[str, tuple[str, ...]]:
    # Return the kind of input, and the topics that it is read from.
    kinds = {
        topic: KIND_OF_MESSAGE[message]
        for topic, messages in sorted(found.items())
        for message in messages
        if message in KIND_OF_MESSAGE
    }
    tree = tuple(topic for topic, messages in found.items() if TF_MESSAGE in messages)
    lists = [topic for topic, kind in kinds.items() if kind == 'hri'
             and topic.endswith(TRACKED_TOPIC.rsplit('/', 2)[1] + '/tracked')]  # fmt: skip
    people = {t: kind for t, kind in kinds.items() if kind not in ('tf', 'hri')}
    name = wanted.topic and '/' + wanted.topic.strip('/')
    if name:
        chosen = [topic for topic in kinds if topic == name]
    else:
        usual = [topic for topic in people if topic == USUAL_TOPIC]
        chosen = (
            usual or list(people) or lists[:1] or [topic for topic in tree if topic == TF_TOPIC]
        )
    if len(chosen) != 1:
        listed = ', '.join(f'{topic} ({"/".join(sorted(found[topic]))})' for topic in kinds)
        raise RecordingError(
            f'{path}: topic={wanted.topic!r} does not name one skeleton topic of this bag; '
            f'of the readable types it has {listed or "none"}'
        )
    kind = kinds[chosen[0]]
    if kind == 'tf':
        return kind, (chosen[0], *(t for t in tree if t.endswith('_static')))
    if kind == 'hri':
        if not tree:
            raise RecordingError(
                f'{path}: {chosen[0]} lists bodies, but the bag has no {TF_TOPIC}'
            )
        return kind, (chosen[0], *tree)
    return kind, (chosen[0],)


def _read(bag: BagFiles, topics: Sequence[str], decoder: Decoder, kind: str) -> _Reading:
    reading = _Reading()
    received_ns = 0
    for entry in bag.messages(topics):
        reading.messages += 1
        received_ns = entry.received_ns
        try:
            decoded = decoder.decode(entry.topic, entry.message, received_ns)
        except MessageError as error:
            reading.misfits += 1
            reading.first_misfit = reading.first_misfit or f'{entry.topic}: {error}'
            continue
        except Exception as error:  # error of a decoder: as in the node, only this message is lost
            reading.misfits += 1
            reading.first_misfit = reading.first_misfit or f'{entry.topic}: {error!r}'
            continue
        if decoded is None:
            continue
        reading.refused += len(decoded.flawed)
        if decoded.flawed:
            flaw = decoded.flawed[0].flaw
            reading.first_misfit = reading.first_misfit or f'{entry.topic}: {flaw}'
        reading.beyond += decoded.counts.get('joints_beyond_float32', 0)
        reading.first_beyond = reading.first_beyond or decoded.beyond
        _note(reading, entry.message, received_ns, decoded.people, kind in STREAM_EACH)
    if kind in ('tf', 'hri'):  # the last poses wait for transforms that do not come any more
        late_ns = received_ns + int(CLIP_GAP_S * 1e9)
        rest = decoder.decode(TF_TOPIC, SimpleNamespace(transforms=[]), late_ns)
        _note(reading, None, received_ns, rest.people if rest else [], each=True)
    return reading


def _note(
    reading: _Reading, message: Any, received_ns: int, people: list[Observation], each: bool
) -> None:
    reading.identified &= all(person.identified for person in people)
    reading.frames.update({p.frame_id.lstrip('/') for p in people if p.frame_id})
    if each:
        for person in people:
            poses = {person.person: _single(person)}
            reading.seen.append(_Seen(received_ns, person.stamp_ns, person.person, poses))
        return
    stamp_ns = people[0].stamp_ns if people else message_header(message)[0]
    poses = {person.person: _single(person) for person in people}
    reading.seen.append(_Seen(received_ns, max(stamp_ns, 0), '', poses))


def _single(person: Observation) -> np.ndarray:
    # In single precision; NaN for a joint that is not seen.
    assert person.seen is not None  # a decoder has decided
    return np.where(person.seen[:, None], person.xyz, np.nan).astype(np.float32)


def _require_people(
    path: Path, topics: Sequence[str], layout: Layout, reading: _Reading, remarks: Sequence[str]
) -> None:
    told = sum(bool(entry.people) for entry in reading.seen)
    if reading.misfits > told:
        raise RecordingError(
            f'{path}: {reading.misfits} of {reading.messages} messages are not of the layout '
            f'{layout.name}: {reading.first_misfit}; name the right layout'
        )
    if not told:
        said = f' ({"; ".join(remarks)})' if remarks else ''
        raise RecordingError(
            f'{path}: nobody in the {reading.messages} messages of {", ".join(topics)}{said}'
        )


def _require_one_frame(path: Path, topics: Sequence[str], frames: Counter[str]) -> None:
    if len(frames) > 1:
        listed = ', '.join(f'{name!r} ({times} messages)' for name, times in frames.most_common(5))
        raise RecordingError(
            f'{path}: {topics[0]} is in {len(frames)} frames of reference: {listed}; positions '
            'of different frames are not one motion: record each camera on a topic of its own'
            + (', or give the target frame' if topics[0] == TF_TOPIC or len(topics) > 1 else '')
        )


def _recording(path: Path, layout: Layout, reading: _Reading, remarks: list[str]) -> Recording:
    seen = reading.seen
    streams, ids = np.unique([entry.stream for entry in seen], return_inverse=True)
    ordered = in_order(
        np.array([entry.received_ns for entry in seen], np.int64),
        np.array([entry.stamp_ns for entry in seen], np.int64),
        ids,
    )
    frames, times_s, cut = _on_one_clock(seen, ordered)
    if not reading.identified:
        frames, renamed = followed(frames, times_s)
        if renamed:
            remarks.append(f'{renamed} poses named by where the body was, not by their place')
    people = _those_there(frames)
    size = len(people) * len(frames) * layout.num_joints * 12
    if size > MAX_BYTES:
        raise RecordingError(
            f'{path}: {len(people)} people in {len(frames)} frames need {size / 1e9:.0f} GB '
            f'(at most {MAX_BYTES / 1e9:.0f}): does the tracker give new ids in every frame?'
        )
    persons = {
        name: np.full((len(frames), layout.num_joints, 3), np.nan, np.float32) for name in people
    }
    for index, poses in enumerate(frames):
        for name, pose in poses.items():
            if name in persons:
                persons[name][index] = pose
    if ordered.all_alike:
        remarks.append('every message has the same stamp, so they are placed by their arrival')
    if ordered.unstamped:
        remarks.append(f'{ordered.unstamped} messages without a stamp placed by their arrival')
    if ordered.left_out:
        remarks.append(
            f'{ordered.left_out} messages with odd stamps left out (late, stamped twice, or far '
            'from the others)'
        )
    if len(ordered.clips) > 1:
        remarks.append(f'{len(ordered.clips)} clips, since stamps jump')
    if cut:
        remarks.append(f'{cut} silences cut to {MAX_GAP_S:g} s')
    return Recording(
        name=path.stem,
        layout=layout.name,
        rate_hz=_rate_hz(ordered, ids, len(streams)),
        persons=persons,
        source=f'rosbag2 {path.name}' + ''.join(f'; {remark}' for remark in remarks),
        times_s=times_s,
        frame_id=next(iter(reading.frames), ''),
    )


def _on_one_clock(
    seen: Sequence[_Seen], ordered: Ordered
) -> tuple[list[dict[str, np.ndarray]], np.ndarray, int]:
    # Return frames, their instants after the first, and the number of shortened silences.
    frames: list[dict[str, np.ndarray]] = []
    steps_s: list[float] = []
    cut = 0
    for clip in ordered.clips:
        last_ns = None
        for index in clip.tolist():
            stamp_ns = int(ordered.stamps_ns[index])
            if stamp_ns == last_ns:
                frames[-1] = frames[-1] | seen[index].people
                continue
            step_s = CLIP_GAP_S if last_ns is None else (stamp_ns - last_ns) * 1e-9
            cut += step_s > MAX_GAP_S
            steps_s.append(min(step_s, MAX_GAP_S))
            frames.append(dict(seen[index].people))
            last_ns = stamp_ns
    return frames, np.concatenate([[0.0], np.cumsum(steps_s[1:])]), cut


def _those_there(frames: Iterable[dict[str, np.ndarray]]) -> list[str]:
    # Return the names of people with at least one joint ever seen: a block may be reserved for
    # nobody.
    held: dict[str, bool] = {}
    for poses in frames:
        for name, pose in poses.items():
            if not held.get(name):
                held[name] = bool(np.isfinite(pose).any())
    return sorted(name for name, there in held.items() if there) or sorted(held)


def _rate_hz(ordered: Ordered, ids: np.ndarray, streams: int) -> float:
    # Return the usual step between messages of a stream.
    steps = [
        np.diff(ordered.stamps_ns[mine])
        for clip in ordered.clips
        for stream in range(streams)
        for mine in [clip[ids[clip] == stream]]
        if len(mine) > 1
    ]
    usual_s = float(np.median(np.concatenate(steps))) * 1e-9 if steps else 1.0 / 30.0
    return float(np.clip(1.0 / usual_s, 1.0, 1000.0))
