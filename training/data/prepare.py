# SPDX-License-Identifier: Apache-2.0
"""Prepare, describe and check stores of motion: python -m training data.

A store is a folder of memory-mapped arrays with a manifest (training/data/store.py). All training
verbs and training evaluate take it as --data.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
import sys

from tqdm import tqdm
import tyro

from motion_predictor.errors import MotionPredictorError, RecordingError
from training.common import provenance
from training.common.options import read_options
from training.common.verbs import choose
from training.data.clips import Clip
from training.data.prepare_options import KINDS, Prepare
from training.data.readers.source import in_splits, load_at, Source
from training.data.store import (
    data_digest,
    describe,
    digest_of_files,
    open_store,
    StoreFacts,
    StoreWriter,
)

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
    'cmu': """\
worked example: subjects/05/05.asf, subjects/05/05_01.amc, ... as CMU's site has them
  python -m training data prepare cmu subjects --out stores --val 06 --test 07 08
worked example: the subjects who were recorded at 60 Hz
  python -m training data prepare cmu subjects/60 --recorded-rate 60 --out stores --name cmu60
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


def prepare(source: Source, options: Prepare, command: str) -> list[Path]:
    """
    Write the stores of a source, one per split.

    :param source: the source.
    :param options: the user's options.
    :param command: the command, which the manifests state.
    :returns: the folders.
    :raises RecordingError: naming the first clip that cannot be used, unless ``--skip-bad``.
    """
    name = options.name or source.kind
    whole = _facts(source, options, command)
    for remark in source.remarks:
        print(remark)
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
                    facts = replace(whole, split=split)
                    writer = StoreWriter(folder, facts, overwrite=options.overwrite)
                    stores.enter_context(writer)
                writer.add(Clip(clip.name, clip.subject, clip.action, positions, options.rate))
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


def _facts(source: Source, options: Prepare, command: str) -> StoreFacts:
    return StoreFacts(
        kind=source.kind,
        sources=tuple(digest_of_files(source.files, source.root)),
        skeleton=source.skeleton,
        rate_hz=options.rate,
        source_rate_hz=(),
        split='train',
        stride_s=source.stride_s if options.stride is None else options.stride,
        start_s=source.start_s if options.start is None else options.start,
        command=command,
        commit=provenance.commit()['commit'],
    )


def plan(source: Source, options: Prepare) -> str:
    """Return in words what would be written."""
    name = options.name or source.kind
    size = sum(path.stat().st_size for path in source.files)
    lines = [
        f'{name}: {len(source.clips)} clips from {len(source.files)} files ({size / 1e6:.1f} MB), '
        f'{source.skeleton.num_joints} joints of {source.skeleton.name}',
        *source.remarks,
    ]
    if source.kind in ('bvh', 'cmu'):
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


@dataclass(frozen=True, kw_only=True)
class Read:
    """Options of ``info`` and ``verify``."""

    store: tyro.conf.Positional[tuple[Path, ...]]
    """Stores to read."""
    dry_run: bool = False
    """Open the stores and read nothing."""


VERBS = {
    'prepare': 'write the stores of a data set',
    'info': 'say what stores hold',
    'verify': 'read stores whole and compare them with their checksums',
}


def read_words(words: Sequence[str]) -> tuple[str, Prepare | Read]:
    """
    Read the words after ``python -m training data``.

    :returns: the verb and its options.
    :raises SystemExit: if words cannot be used, and after ``--help``.
    """
    program = 'training data'
    verb, rest = choose(program, VERBS, f'{__doc__}\n{EXAMPLE}', words)
    if verb != 'prepare':
        example = f'worked example:\n  python -m training data {verb} stores/cmu17/train\n'
        return verb, read_options(Read, f'{program} {verb}', VERBS[verb], example, rest)
    what = {kind: made.__doc__ or '' for kind, made in KINDS.items()}
    examples = ''.join(EXAMPLES.values())
    kind, rest = choose(f'{program} prepare', what, examples, rest)
    return verb, read_options(
        KINDS[kind], f'{program} prepare {kind}', what[kind], EXAMPLES[kind], rest
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the words after ``python -m training data``.
    :returns: the exit code: 0, or 2 if an argument cannot be used, 130 if stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        verb, options = read_words(words)
        if isinstance(options, Prepare):
            if not 1.0 <= options.rate <= 1000.0:
                raise RecordingError(f'--rate {options.rate:g}: must lie in 1..1000')
            source = options.read()
            if options.dry_run:
                print(plan(source, options))
                return 0
            command = provenance.command_line('training data', words)
            for folder in prepare(source, options, command):
                print(describe(open_store(folder)))
            return 0
        for folder in options.store:
            store = open_store(folder)
            if verb == 'info' or options.dry_run:
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
