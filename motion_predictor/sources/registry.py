# SPDX-License-Identifier: Apache-2.0
"""All kinds of input: their message types and the sources that read them; without ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from motion_predictor.body.layout import IDENTITY, Layout
from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.sources.naming import NAME_PATTERN
from motion_predictor.sources.observation import DecodedPerson, InputFormat
from motion_predictor.sources.point_cloud import decode_point_cloud
from motion_predictor.sources.source import AUTO, Source
from motion_predictor.sources.standard import BonesError, decode_marker_array, decode_pose_array
from motion_predictor.sources.tf.people import HriSource, TF_MESSAGE, TfSource, TRACKED_MESSAGE
from motion_predictor.sources.trackers import TRACKERS

Decoder = Callable[[Any, InputFormat], list[DecodedPerson]]

STANDARD: Mapping[str, tuple[str, Decoder]] = {
    'pose_array': ('geometry_msgs/msg/PoseArray', decode_pose_array),
    'point_cloud': ('sensor_msgs/msg/PointCloud2', decode_point_cloud),
    'marker_array': ('visualization_msgs/msg/MarkerArray', decode_marker_array),
}
"""Message type and decoder of each ``input.type`` whose messages are part of ROS."""
STANDARD_LAYOUT = 'h36m17'
TF_LAYOUT = 'hri'
KIND_OF_MESSAGE: Mapping[str, str] = {
    **{message: kind for kind, (message, _) in STANDARD.items()},
    **{tracker.message: kind for kind, tracker in TRACKERS.items()},
    TF_MESSAGE: 'tf',
    TRACKED_MESSAGE: 'hri',
}
"""``input.type`` by the message type of the topic."""


class StandardSource:
    """Source for PoseArray, PointCloud2 and MarkerArray: each message is complete by itself."""

    def __init__(self, input_type: str, form: InputFormat) -> None:
        """
        Choose the decoder.

        :param input_type: a key of :data:`STANDARD`.
        :param form: the settings of the decoder.
        """
        self.counters: dict[str, int] = {}
        if input_type == 'marker_array':
            self.counters['messages_of_bones'] = 0
        self._bones: dict[str, str] = {}  # by topic, since the last call of complaints()
        self._decode = STANDARD[input_type][1]
        self._form = form

    def decode(self, topic: str, message: Any, received_ns: int) -> list[DecodedPerson]:
        """Read the people of one message."""
        try:
            return self._decode(message, self._form)
        except BonesError as error:
            self.counters['messages_of_bones'] += 1
            self._bones[topic] = str(error)
            raise

    def complaints(self) -> list[str]:
        """Return the topics that have shown bones but no joints since the last call."""
        bones, self._bones = self._bones, {}
        return [f'{topic}: {words}' for topic, words in bones.items()]


def layout_of(input_type: str, name: str, skeleton: Skeleton = H36M17) -> Layout:
    """
    Return the layout of an input.

    :param input_type: a value of the node's ``input.type``.
    :param name: name of a layout, or path of a mapping file; 'auto' takes the usual layout of the
        input.
    :param skeleton: the model's skeleton.
    :raises SkeletonError: if there is no such layout.
    """
    if name != AUTO:
        return layout(name, skeleton)
    usual = STANDARD_LAYOUT
    if input_type in ('tf', 'hri'):
        usual = TF_LAYOUT
    elif input_type in TRACKERS:
        usual = TRACKERS[input_type].layout
    return layout(usual if skeleton.joints == H36M17.joints else IDENTITY, skeleton)


def make_source(
    input_type: str,
    chosen: Layout,
    *,
    pattern: str = AUTO,
    fields: tuple[str, str, str] = ('person', 'joint', 'confidence'),
    target_frame: str = '',
    tf_timeout_s: float = 0.05,
) -> Source:
    """
    Make the source that reads the messages of an input.

    :param input_type: a value of the node's ``input.type``.
    :param chosen: its layout, from :func:`layout_of`.
    :param pattern: pattern of the names that tell person and joint; 'auto' takes the usual one.
    :param fields: names of the fields of a cloud for person, joint and confidence.
    :param target_frame: for tf and hri: the frame of the returned poses; '' is the root of the
        tree.
    :param tf_timeout_s: for tf and hri: longest time in seconds that a pose waits for a transform.
    :raises ConfigError: if the layout or the pattern does not fit the input.
    """
    if input_type in ('tf', 'hri'):
        return (TfSource if input_type == 'tf' else HriSource)(
            chosen, NAME_PATTERN if pattern == AUTO else pattern, target_frame, tf_timeout_s
        )
    if input_type in TRACKERS:
        tracker = TRACKERS[input_type]
        return tracker.source(chosen, tracker.pattern if pattern == AUTO else pattern)
    person, joint, confidence = fields
    return StandardSource(
        input_type, InputFormat(joints=chosen.num_joints, person_field=person,
                                joint_field=joint, confidence_field=confidence)
    )  # fmt: skip
