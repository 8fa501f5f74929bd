# SPDX-License-Identifier: Apache-2.0
"""Parameters of the replay node; all are fixed once it runs."""

from __future__ import annotations

from dataclasses import dataclass

from motion_predictor.ros.parameters.fields import parameter, parameters_of
from motion_predictor.ros.parameters.parameter import AT_START, Parameter


@dataclass(frozen=True, kw_only=True)
class ReplaySettings:
    """The recording to play, and how to play it."""

    path: str = parameter('', applies=AT_START)
    """recording: FILE.bvh, FILE.amc, FILE.npz:CLIP, a rosbag2, a DeepMimic .txt, synthetic"""
    topic: str = parameter('skeleton', applies=AT_START)
    """topic to publish on"""
    type: str = parameter('pose_array', applies=AT_START)
    """type of message: pose_array, marker_array or point_cloud"""
    rate_hz: float = parameter(0.0, applies=AT_START)
    """published frames per second of recording time; 0 takes the recording's rate"""
    speed: float = parameter(1.0, applies=AT_START)
    """multiple of real speed"""
    loop: bool = parameter(True, applies=AT_START)
    """start again at the end"""
    blend_s: float = parameter(0.5, applies=AT_START)
    """seconds in which people glide back at the end of a loop; 0 lets them jump"""
    start_s: float = parameter(0.0, applies=AT_START)
    """seconds to leave out at the beginning of the recording"""
    duration_s: float = parameter(0.0, applies=AT_START)
    """seconds of the recording to play; 0 plays all"""
    frame_id: str = parameter('', applies=AT_START)
    """frame of reference; empty takes the recording's, or 'map'"""
    layout: str = parameter('auto', applies=AT_START)
    """joint layout of a rosbag2's messages; auto takes the usual one of their type"""
    bag_topic: str = parameter('', applies=AT_START)
    """topic of a rosbag2; empty takes /skeleton or else the only one, /tf reads TF"""
    bag_pattern: str = parameter('auto', applies=AT_START)
    """pattern of the names in a rosbag2, as input.pattern (mocap4r2, tf, hri)"""
    bag_fields: str = parameter('person joint confidence', applies=AT_START)
    """names of the fields of a rosbag2's clouds for person, joint and confidence"""
    bag_target_frame: str = parameter('', applies=AT_START)
    """frame of the people in a rosbag2 of tf or hri"""
    units_scale: float = parameter(0.0, applies=AT_START)
    """metres per unit of the file; 0 takes the file's unit, for a BVH by the length of the legs"""
    up: str = parameter('', applies=AT_START)
    """axis of the file that points up: x, y, z, -x, -y or -z; empty takes the usual one"""
    mapping: str = parameter('', applies=AT_START)
    """mapping file from the file's joints to h36m17; empty takes the usual names"""
    recorded_rate_hz: float = parameter(0.0, applies=AT_START)
    """frames per second of the recording; 0 takes the file's own rate"""
    wait_for_subscribers: int = parameter(0, applies=AT_START)
    """number of subscribers to wait for before the start"""
    publish_clock: bool = parameter(False, applies=AT_START)
    """publish /clock, so that speed changes the time and not the motion"""
    reliable: bool = parameter(True, applies=AT_START)
    """reliability of the topic; false for best effort"""


REPLAY_PARAMETERS: tuple[Parameter, ...] = tuple(parameters_of(ReplaySettings))
"""All parameters of the replay node, in the order of the reference page."""
