# SPDX-License-Identifier: Apache-2.0
"""Feed the node messages that no tracker should send, millions of joints of them.

Recorded motion is mutated, and random messages are mixed in, for every input type. Most of it goes
into the node's own code in this process, on the worker's path: decode, observe, predict, encode. A
share goes over DDS to a node in a separate process. The following must hold: no error is raised,
no prediction holds NaN or has a stamp or a frame that was not given, and the data kept about
people are bounded. In crowds and in a long-lived TF, one good person must be served from every
message, and no message may take more than a stated time and memory. Files of every kind are
damaged too: weights, recordings, YAML, archives. The exit code says whether all of this holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
import json
import os
from pathlib import Path
import sys
import time
from typing import Any

import numpy as np
import tyro

from motion_predictor.ros.messages import DECODERS
from tools.demo.demo_clips import demo_recording, MEDLEY
from tools.fuzz.fuzz import Findings, fuzz_in_process, fuzz_process
from tools.fuzz.fuzz_crowd import fuzz_crowd
from tools.fuzz.fuzz_files import fuzz_files, kinds_of_files
from tools.fuzz.fuzz_tf import fuzz_tf
from tools.rig import commit, machine
from training.common.options import read_options, refuse

CROWD_JOINTS = 17 * 20
"""Approximate number of joints in one message of a crowd."""
LAYOUTS = ('h36m17', 'k4a32')
"""Layouts of the messages: that of the recorded motion, and one that has to be mapped."""


def recorded_poses(clip: str = MEDLEY) -> tuple[np.ndarray, str]:
    """Return motion (T, 17, 3) at 30 Hz, and its origin."""
    recording = demo_recording(clip, 60.0, 30.0)
    (poses,) = recording.persons.values()
    return poses, recording.source


EXAMPLE = """example:
  python -m tools.fuzz --joints 5000000
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.fuzz``."""

    joints: float = 200_000.0
    """Joints in all."""
    share: float = 0.1
    """Share of them that goes over DDS to a process."""
    kinds: tuple[str, ...] = tuple(DECODERS)
    """Input types."""
    damaged: int = 200
    """Damaged files of each kind."""
    seed: int = 0
    """Seed of all that is drawn."""
    weights: str = 'swiftdiff'
    """Name of a shipped model, or a weights file."""
    clip: str = MEDLEY
    """Motion that is mutated, as for scripts/demo."""
    json: Path | None = None
    """File for the figures."""
    report: Path | None = None
    """Page to write of existing --json files; nothing else is done."""
    files: tyro.conf.Positional[tuple[Path, ...]] = ()
    """The files for --report."""


def page(files: Sequence[Path]) -> str:
    """Return the page of campaigns, from their JSON files, as Markdown."""
    results = [json.loads(path.read_text()) for path in files]
    joints = sum(result['joints'] for result in results)
    checked = sum(result['predictions'] for result in results)
    parts = [part for result in results for part in result['parts'].values()]
    files = sum(part.get('read', 0) + part.get('refused', 0) for part in parts)
    lines = [
        '# Fuzz campaign',
        '',
        'Written by `python -m tools.fuzz --report` from the figures of these runs:',
        '',
        '```sh',
        *(result['command'] for result in results),
        '```',
        '',
        f'Commit {", ".join(sorted({"`" + result["commit"] + "`" for result in results}))}; '
        f'{results[0]["machine"]}. Mutated: {results[0]["motion"]}.',
        '',
        f'**{joints} joints, {checked} predictions checked, {files} damaged files, '
        f'{sum(result["findings"] for result in results)} findings.**',
        '',
        'Messages: joints, predictions that were checked, processor time of the slowest message, '
        'and memory that the part took on top. Files: how many were read all the same, and how '
        'many were refused by name.',
        '',
        '| input | messages or files | joints | predictions checked | read | refused '
        '| slowest one (s) | memory (MB) | findings |',
        '|---|---:|---:|---:|---:|---:|---:|---:|---:|',
    ]
    for result in results:
        for name, part in result['parts'].items():
            counts = [part['messages'], part['joints'], part['predictions']]
            counts += [part.get('read', 0), part.get('refused', 0)]
            figures = ' | '.join(str(count or '') for count in counts)
            slowest_s, grown_mb = part.get('slowest_s', 0.0), part.get('grown_mb', 0.0)
            lines.append(
                f'| {name} | {figures} | {f"{slowest_s:.2f}" if slowest_s else ""} '
                f'| {f"{grown_mb:.0f}" if grown_mb else ""} | {len(part["found"])} |'
            )
    return '\n'.join(lines) + '\n'


def campaign(
    options: Options, poses: np.ndarray
) -> Iterator[tuple[str, Callable[[Findings], object]]]:
    """Return every part of the campaign by its name; all get about the same number of joints."""
    seed, weights = options.seed, options.weights
    share = options.joints / (len(options.kinds) + 1)
    single = int(0.5 * share * (1.0 - options.share) / len(LAYOUTS))
    crowd, process = int(0.5 * share / CROWD_JOINTS), int(share * options.share)
    for kind in options.kinds:
        for skeleton in LAYOUTS if single else ():
            yield (
                f'{kind} of {skeleton}, in process',
                partial(fuzz_in_process, kind, skeleton, poses, single, seed, weights),
            )
        if process:
            yield (
                f'{kind} of {LAYOUTS[0]}, over DDS',
                partial(fuzz_process, kind, LAYOUTS[0], poses, process, seed, weights),
            )
        if crowd:
            yield f'{kind}, crowds', partial(fuzz_crowd, kind, poses, crowd, seed, weights)
    for kind in ('tf', 'hri'):
        yield f'{kind}, long-lived', partial(fuzz_tf, kind, poses, int(0.5 * share / 17), seed)
    if options.damaged:
        for what, files in kinds_of_files(poses).items():
            yield what, partial(fuzz_files, what, files, options.damaged, seed)


def main(arguments: list[str] | None = None) -> int:
    """Run the campaign; return 0 if nothing was found."""
    options = read_options(Options, 'tools.fuzz', __doc__, EXAMPLE, arguments)
    unknown = sorted(set(options.kinds) - set(DECODERS))
    if unknown:
        known = ', '.join(sorted(DECODERS))
        refuse('tools.fuzz', f'--kinds {" ".join(unknown)}: must be of {known}')
    if options.report:
        options.report.write_text(page(options.files))
        return 0
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    poses, source = recorded_poses(options.clip)
    begun = time.monotonic()
    figures: dict[str, Any] = {}
    for name, run in campaign(options, poses):
        findings = Findings()
        run(findings)
        figures[name] = vars(findings)
        print(
            f'{name}: {findings.joints} joints in {findings.messages} messages, '
            f'{findings.predictions} predictions checked, {findings.read} files read, '
            f'{findings.refused} refused, {len(findings.found)} findings, '
            f'{time.monotonic() - begun:.0f} s',
            flush=True,
        )
        for text in findings.found:
            print(text, file=sys.stderr)
        for text, count in findings.warned.items():
            print(f'  warned {count} times: {text}')
    found = sum(len(each['found']) for each in figures.values())
    total = sum(each['joints'] for each in figures.values())
    result = {
        'command': 'python -m tools.fuzz ' + ' '.join(arguments or sys.argv[1:]),
        'commit': commit(),
        'machine': machine(),
        'motion': source,
        'joints': total,
        'predictions': sum(each['predictions'] for each in figures.values()),
        'findings': found,
        'minutes': (time.monotonic() - begun) / 60.0,
        'parts': figures,
    }
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + '\n')
    print(f'{total} joints, {result["predictions"]} predictions checked, {found} findings')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
