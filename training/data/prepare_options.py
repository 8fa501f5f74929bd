# SPDX-License-Identifier: Apache-2.0
"""Options of ``data prepare``: one class per kind of data set, which also reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import tyro

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.body.skeleton_file import read_skeleton
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.recording import Overrides
from training.data.bags import bag_input, BagOptions, read_bags, rotation_of
from training.data.readers.amass import read_amass
from training.data.readers.bvh_folder import read_bvh_folder
from training.data.readers.cmu_folder import read_cmu_folder
from training.data.readers.h36m import read_h36m, read_humaneva
from training.data.readers.smplh import smplh_kinematics
from training.data.readers.source import MAX_SPEED_M_S, Source
from training.data.windows import read_clip_files


@dataclass(frozen=True, kw_only=True)
class Prepare(ABC):
    """Options of every kind."""

    kind: ClassVar[str]
    source: tyro.conf.Positional[tuple[Path, ...]]
    """File or folder to read; npz and rosbag take several."""
    out: Path = Path('stores')
    """Folder in which NAME/SPLIT is made."""
    name: str = ''
    """Name of the data set; the default is its kind."""
    rate: float = 50.0
    """Frames per second of the store."""
    stride: float | None = None
    """Seconds between evaluation windows."""
    start: float | None = None
    """Start of the first evaluation window of a clip, in seconds."""
    max_speed: float = MAX_SPEED_M_S
    """Highest speed of a joint in m/s; a clip with a faster joint is refused."""
    skip_bad: bool = False
    """Leave out clips that cannot be used, with a message."""
    overwrite: bool = False
    """Replace existing stores."""
    dry_run: bool = False
    """Print what would be written."""
    quiet: bool = False
    """Show no progress bar."""

    @abstractmethod
    def read(self) -> Source:
        """
        Return the source to store.

        :raises RecordingError: if it cannot be read.
        """

    @property
    def place(self) -> Path:
        """Return the file or folder of a kind that reads only one."""
        if len(self.source) > 1:
            raise RecordingError(f'{self.kind}: reads one file or folder, not {len(self.source)}')
        return self.source[0]


@dataclass(frozen=True, kw_only=True)
class H36m(Prepare):
    """Human3.6M: data_3d_h36m.npz."""

    kind = 'h36m'
    val: tuple[str, ...] = ()
    """Subjects kept for validation."""

    def read(self) -> Source:
        """Return its clips."""
        return read_h36m(self.place, self.val)


@dataclass(frozen=True, kw_only=True)
class HumanEva(Prepare):
    """HumanEva-I: data_3d_humaneva15.npz."""

    kind = 'humaneva'
    val: tuple[str, ...] = ()
    """Subjects kept for validation."""
    keep_all: bool = False
    """Also the chunks that the protocol leaves out."""

    def read(self) -> Source:
        """Return its clips."""
        return read_humaneva(self.place, self.val, keep_all=self.keep_all)


@dataclass(frozen=True, kw_only=True)
class Amass(Prepare):
    """AMASS: a folder of its data sets' folders of .npz archives."""

    kind = 'amass'
    body_model: Path
    """Folder of SMPL+H models, or one .npz."""
    joints: Literal['smpl22', 'h36m17'] = 'smpl22'
    """Joints of the store."""

    def read(self) -> Source:
        """Return its clips."""
        return read_amass(self.place, smplh_kinematics(self.body_model), joints=self.joints)


@dataclass(frozen=True, kw_only=True)
class Cmu(Prepare):
    """CMU: a folder of .amc files, each with the .asf file of its body beside it."""

    kind = 'cmu'
    units_scale: float = 0.0
    """Metres per unit; the default is an inch divided by the length that the .asf file states."""
    mapping: Path | None = None
    """Mapping file from the bones' ends to the model; the default knows those of CMU."""
    up: str = ''
    """Vertical axis: x, y, z, or --up=-z; the default is y."""
    recorded_rate: float = 0.0
    """Frames per second; the default is 120, since the files do not state it."""
    val: tuple[str, ...] = ()
    """Subjects kept for validation."""
    test: tuple[str, ...] = ()
    """Subjects kept for the test."""

    def read(self) -> Source:
        """Return their clips."""
        mapping = '' if self.mapping is None else str(self.mapping)
        given = Overrides(self.units_scale, self.up, mapping, self.recorded_rate)
        return read_cmu_folder(self.place, given=given, val=self.val, test=self.test)


@dataclass(frozen=True, kw_only=True)
class Cmu17(Prepare):
    """CMU: a folder of train.npz, val.npz and test.npz."""

    kind = 'cmu17'
    val: tuple[str, ...] = ()
    """Subjects kept for validation."""

    def read(self) -> Source:
        """Return its clips."""
        return read_clip_files([self.place], self.kind, H36M17, val=self.val, test=())


@dataclass(frozen=True, kw_only=True)
class UiPrmd17(Cmu17):
    """UI-PRMD: a folder of train.npz, val.npz and test.npz."""

    kind = 'uiprmd17'


@dataclass(frozen=True, kw_only=True)
class OfAnything(Prepare):
    """Options for recordings of any body."""

    val: tuple[str, ...] = ()
    """Subjects kept for validation."""
    test: tuple[str, ...] = ()
    """Subjects kept for the test."""
    skeleton: Path | None = None
    """Skeleton file, for bodies that are not people."""

    @property
    def joints(self) -> Skeleton:
        """Return the skeleton of the file, or that of a person."""
        return read_skeleton(self.skeleton) if self.skeleton else H36M17


@dataclass(frozen=True, kw_only=True)
class Npz(OfAnything):
    """Files in the cmu17 format, of people or, with --skeleton, of any body."""

    kind = 'npz'

    def read(self) -> Source:
        """Return their clips."""
        return read_clip_files(self.source, self.kind, self.joints, val=self.val, test=self.test)


@dataclass(frozen=True, kw_only=True)
class Bvh(OfAnything):
    """A folder of .bvh files."""

    kind = 'bvh'
    units_scale: float = 0.0
    """Metres per unit."""
    mapping: Path | None = None
    """Mapping file from BVH joints to the model."""
    up: str = ''
    """Vertical axis: x, y, z, or --up=-z; the default judges it by people's motion."""
    recorded_rate: float = 0.0
    """Frames per second instead of the files' own."""
    subject: str = ''
    """Regular expression whose first group is the subject."""

    def read(self) -> Source:
        """Return their clips."""
        return read_bvh_folder(
            self.place,
            mapping=self.mapping,
            skeleton=self.joints,
            units_scale=self.units_scale,
            up=self.up,
            rate_hz=self.recorded_rate,
            subject_pattern=self.subject,
            val=self.val,
            test=self.test,
        )


@dataclass(frozen=True, kw_only=True)
class Rosbag(OfAnything):
    """Rosbag2 recordings of a skeleton topic."""

    kind = 'rosbag'
    bag: tyro.conf.OmitArgPrefixes[BagOptions] = field(default_factory=BagOptions)

    def read(self) -> Source:
        """Return the stretches in which people are completely seen."""
        return read_bags(
            self.source,
            bag_input(self.bag),
            skeleton=self.joints,
            units_scale=self.bag.units_scale,
            rotation=rotation_of(self.bag.rotation),
            val=self.val,
            test=self.test,
        )


KINDS: dict[str, type[Prepare]] = {
    made.kind: made for made in (H36m, HumanEva, Amass, Cmu, Cmu17, UiPrmd17, Npz, Bvh, Rosbag)
}
