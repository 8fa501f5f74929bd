"""
Prepare, describe and check stores of motion: python -m training data.

A store is a folder of memory-mapped arrays with a manifest (training/data/store.py); every
training verb and training evaluate takes it as --data.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
import sys

from tqdm import tqdm

from motion_predictor.body.skeleton import H36M17, read_skeleton, Skeleton
from motion_predictor.errors import MotionPredictorError, RecordingError
from training.common import provenance
from training.data.bags import add_bag_arguments, bag_input, read_bags, rotation_of
from training.data.sources import (
    in_splits,
    load_at,
    MAX_SPEED_M_S,
    read_amass,
    read_bvh_folder,
    read_h36m,
    read_humaneva,
    smplh_kinematics,
    Source,
)
from training.data.store import (
    data_digest,
    describe,
    digest_of_files,
    open_store,
    StoredClip,
    StoreFacts,
    StoreWriter,
)
from training.data.windows import read_clip_files

EXAMPLE = """\
worked examples, from the root of the source tree:
  python -m training data prepare h36m data_3d_h36m.npz --out stores
  python -m training data info stores/h36m/train stores/h36m/test
  python -m training data verify stores/h36m/test
  python -m training train teacher --preset full --data stores/h36m/train --run runs/h36m
prepare writes OUT/NAME/SPLIT, one store for each split that the data set has.
"""
EXAMPLES = {
    'h36m': """\
worked example: Human3.6M as VideoPose3D passes it on, subject 8 kept for validation
  python -m training data prepare h36m data_3d_h36m.npz --out stores --val S8
""",
    'humaneva': """\
worked example, at the rate of the recordings as the published protocol has it:
  python -m training data prepare humaneva data_3d_humaneva15.npz --out stores --rate 60
""",
    'amass': """\
worked example: AMASS/ACCAD/..., AMASS/CMU/... as downloaded (SMPL+H G), and its body model
  pip install '.[amass]'
  python -m training data prepare amass AMASS --body-model smplh --out stores --rate 60
as the 17 joints that the shipped models have:
  python -m training data prepare amass AMASS --body-model smplh --out stores --joints h36m17
""",
    'cmu17': """\
worked example:
  python -m training data prepare cmu17 ../shared/data/cmu17 --out stores
""",
    'uiprmd17': """\
worked example:
  python -m training data prepare uiprmd17 ../shared/data/uiprmd17 --out stores
""",
    'npz': """\
worked example: clips of a robot in the cmu17 format, with its own joints
  python -m training data prepare npz arm.npz --skeleton arm.json --name arm --out stores
""",
    'bvh': """\
worked example: people, the usual joint names, subjects by sub-folder
  python -m training data prepare bvh mocap --out stores --val anna --test 'b*'
worked example: a dog, in centimetres, y up
  python -m training data prepare bvh dogs --skeleton dog.json --mapping dog_bvh.json \\
      --units-scale 0.01 --up y --out stores --name dogs
""",
    'rosbag': """\
worked example: a tracker's topic, people by their ids, an optical frame turned level
  python -m training data prepare rosbag my_bag --topic /skeleton --layout k4a32 \\
      --rotation -1.5708 0 0 --out stores --name lab
""",
}


def prepare(source: Source, options: argparse.Namespace, command: str) -> list[Path]:
    """
    Write a source's stores, one a split.

    :param source: what a reader found.
    :param options: as parsed by :func:`parser`.
    :param command: noted in the manifests.
    :returns: the folders.
    :raises RecordingError: naming the first clip that cannot be used, unless ``--skip-bad``.
    """
    name = options.name or source.kind
    code = provenance.commit()['commit']
    for remark in source.remarks:
        print(remark)
    sources = tuple(digest_of_files(source.files, source.root))
    made: list[Path] = []
    bad: list[str] = []
    total = len(source.clips)
    with (
        ExitStack() as stores,
        tqdm(total=total, desc=f'prepare {name}', unit='clip', disable=options.quiet) as bar,
    ):
        for split, clips in in_splits(source):
            rates: set[float] = set()
            writer: StoreWriter | None = None
            folder = options.out / name / split
            for clip in clips:
                bar.update()
                try:
                    positions, found_hz = load_at(clip, options.rate, options.max_speed)
                except RecordingError as error:
                    if not options.skip_bad:
                        raise
                    bad.append(str(error))
                    continue
                rates.add(found_hz)
                if writer is None:
                    facts = StoreFacts(
                        kind=source.kind,
                        sources=sources,
                        skeleton=source.skeleton,
                        rate_hz=options.rate,
                        source_rate_hz=(),
                        split=split,
                        stride_s=source.stride_s if options.stride is None else options.stride,
                        start_s=source.start_s if options.start is None else options.start,
                        command=command,
                        commit=code,
                    )
                    writer = StoreWriter(folder, facts, overwrite=options.overwrite)
                    stores.enter_context(writer)
                writer.add(StoredClip(clip.name, clip.subject, clip.action), positions)
                writer.source_rates_hz = tuple(sorted(rates))
            if writer is not None:
                made.append(folder)
    for line in source.judgements():
        print(f'{name}: {line}')
    for message in bad:
        print(f'left out: {message}', file=sys.stderr)
    if not made:
        raise RecordingError(f'{name}: none of {total} clips can be used')
    return made


def plan(source: Source, options: argparse.Namespace) -> str:
    """Say what would be written."""
    name = options.name or source.kind
    size = sum(path.stat().st_size for path in source.files)
    lines = [
        f'{name}: {len(source.clips)} clips from {len(source.files)} files ({size / 1e6:.1f} MB), '
        f'{source.skeleton.num_joints} joints of {source.skeleton.name}',
        *source.remarks,
    ]
    if source.kind == 'bvh':
        source.clips[0].load()
        lines += [f'{source.clips[0].name}: {line}' for line in source.judgements()]
    for split, clips in in_splits(source):
        subjects = sorted({clip.subject for clip in clips})
        lines.append(
            f'would write {options.out / name / split}: {len(clips)} clips of '
            f'{", ".join(subjects[:12])}{", ..." if len(subjects) > 12 else ""}, '
            f'at {options.rate:g} Hz'
        )
    return '\n'.join(lines)


def _joints(options: argparse.Namespace) -> Skeleton:
    return read_skeleton(options.skeleton) if options.skeleton else H36M17


def _amass(options: argparse.Namespace) -> Source:
    return read_amass(
        options.source[0], smplh_kinematics(options.body_model), joints=options.joints
    )


def _bvh(options: argparse.Namespace) -> Source:
    return read_bvh_folder(
        options.source[0],
        mapping=options.mapping,
        skeleton=_joints(options),
        units_scale=options.units_scale,
        up=options.up,
        rate_hz=options.recorded_rate,
        subject_pattern=options.subject,
        val=options.val,
        test=options.test,
    )


def _rosbag(options: argparse.Namespace) -> Source:
    return read_bags(
        options.source,
        bag_input(options),
        skeleton=_joints(options),
        units_scale=options.units_scale,
        rotation=rotation_of(options.rotation),
        val=options.val,
        test=options.test,
    )


def _clips(options: argparse.Namespace) -> Source:
    joints = _joints(options) if options.kind == 'npz' else H36M17
    return read_clip_files(
        options.source, options.kind, joints, val=options.val, test=options.test
    )


READERS: dict[str, Callable[[argparse.Namespace], Source]] = {
    'h36m': lambda options: read_h36m(options.source[0], options.val),
    'humaneva': lambda options: read_humaneva(
        options.source[0], options.val, keep_all=options.keep_all
    ),
    'amass': _amass,
    'cmu17': _clips,
    'uiprmd17': _clips,
    'npz': _clips,
    'bvh': _bvh,
    'rosbag': _rosbag,
}
KINDS = {
    'h36m': 'Human3.6M: data_3d_h36m.npz',
    'humaneva': 'HumanEva-I: data_3d_humaneva15.npz',
    'amass': "AMASS: a folder of its data sets' folders of .npz archives",
    'cmu17': 'CMU: a folder of train.npz, val.npz and test.npz',
    'uiprmd17': 'UI-PRMD: a folder of train.npz, val.npz and test.npz',
    'npz': 'any files in the cmu17 format, of people or with --skeleton of anything',
    'bvh': 'a folder of .bvh files',
    'rosbag': 'rosbag2 recordings of a skeleton topic',
}


def parser() -> argparse.ArgumentParser:
    """Make the command's parser."""
    made = argparse.ArgumentParser(
        prog='python -m training data',
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = made.add_subparsers(dest='verb', required=True)
    preparing = verbs.add_parser(
        'prepare',
        help='write the stores of a data set',
        epilog=''.join(EXAMPLES.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = preparing.add_subparsers(dest='kind', required=True)
    for kind, what in KINDS.items():
        _add_kind(kinds, kind, what)
    for verb, what in (
        ('info', 'say what stores hold'),
        ('verify', 'read stores whole and compare them with their checksums'),
    ):
        reading = verbs.add_parser(
            verb,
            help=what,
            description=what,
            epilog=f'worked example:\n  python -m training data {verb} stores/cmu17/train\n',
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        reading.add_argument('store', type=Path, nargs='+')
        reading.add_argument('--dry-run', action='store_true', help='open them, read nothing')
    return made


def _add_kind(kinds: argparse._SubParsersAction, kind: str, what: str) -> None:  # type: ignore[type-arg]
    made = kinds.add_parser(
        kind,
        help=what,
        description=what,
        epilog=EXAMPLES[kind],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    several = kind in ('npz', 'rosbag')
    add('source', type=Path, nargs='+' if several else 1, help='file or folder to read')
    add('--out', type=Path, default=Path('stores'), help='where NAME/SPLIT is made (%(default)s)')
    add('--name', default='', help=f'of the data set (default {kind})')
    add('--rate', type=float, default=50.0, metavar='HZ',
        help='frames per second of the store (default %(default)g)')  # fmt: skip
    add('--stride', type=float, metavar='S', help='seconds from one evaluation window to the next')
    add('--start', type=float, metavar='S', help='where the first evaluation window of a clip is')
    add('--max-speed', type=float, default=MAX_SPEED_M_S, metavar='M/S',
        help='a clip with a faster joint is refused (default %(default)g)')  # fmt: skip
    add('--skip-bad', action='store_true', help='leave out clips that cannot be used, saying so')
    add('--overwrite', action='store_true', help='replace stores that are there')
    add('--dry-run', action='store_true', help='say what would be written')
    add('--quiet', action='store_true', help='no progress bar')
    if kind != 'amass':
        add('--val', nargs='+', default=[], metavar='SUBJECT', help='subjects kept for validation')
    if kind in ('npz', 'bvh', 'rosbag'):
        add('--test', nargs='+', default=[], metavar='SUBJECT', help='subjects kept for the test')
        add('--skeleton', type=Path, metavar='FILE', help='skeleton file of what is no person')
    else:
        made.set_defaults(test=[], skeleton=None)
    if kind in ('bvh', 'rosbag'):
        add('--units-scale', type=float, default=0.0, metavar='M', help='metres in a unit')
    if kind == 'humaneva':
        add('--keep-all', action='store_true', help='also the chunks that the protocol leaves out')
    if kind == 'amass':
        add('--body-model', type=Path, required=True, help='folder of SMPL+H models, or one .npz')
        add('--joints', default='smpl22', choices=('smpl22', 'h36m17'),
            help='of the store (default %(default)s)')  # fmt: skip
        made.set_defaults(val=[])
    if kind == 'bvh':
        add('--mapping', type=Path, metavar='FILE', help='mapping file: BVH joints to the model')
        add(
            '--up',
            default='',
            metavar='AXIS',
            help="vertical axis: x, y, z, or --up=-z; judged by people's motion by default",
        )
        add(
            '--recorded-rate',
            type=float,
            default=0.0,
            metavar='HZ',
            help="frames per second in place of the files' own",
        )
        add('--subject', default='', metavar='REGEX', help='its first group is the subject')
    if kind == 'rosbag':
        add_bag_arguments(add, '')


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the words after ``python -m training data``.
    :returns: the exit code: 0, or 2 when something given cannot be used, 130 when stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(words)
    try:
        if options.verb == 'prepare':
            if not 1.0 <= options.rate <= 1000.0:
                raise RecordingError(f'--rate {options.rate:g}: must lie in 1..1000')
            source = READERS[options.kind](options)
            if options.dry_run:
                print(plan(source, options))
                return 0
            command = provenance.command_line('training data', words)
            for folder in prepare(source, options, command):
                print(describe(open_store(folder)))
            return 0
        for folder in options.store:
            store = open_store(folder)
            if options.verb == 'info' or options.dry_run:
                print(describe(store))
                continue
            store.verify()
            print(f'{folder}: {len(store)} clips as written, manifest {data_digest(folder)[:16]}')
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            'stopped; nothing half-written is left: give the same command again (with --overwrite '
            'where a split was finished)',
            file=sys.stderr,
        )
        return 130
    return 0
