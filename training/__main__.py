# SPDX-License-Identifier: Apache-2.0
"""Train, evaluate and report the deployed weights: ``python -m training VERB``."""

from __future__ import annotations

import sys

from training.common.verbs import run, Verb

ABOUT = 'Makes the weights that the node loads, and says how good they are.'
VERBS = {
    'data': Verb('training.data.prepare', 'prepare, describe and verify stores of motion'),
    'train teacher': Verb(
        'training.stages.train_teacher', 'train the diffusion teacher', goes_on=True
    ),
    'train one-step': Verb(
        'training.stages.train_one_step', 'distil it into one step alone', goes_on=True
    ),
    'train swiftdiff': Verb(
        'training.stages.distill', 'distil it into one step, and that into SwiftDiff', goes_on=True
    ),
    'train mixture': Verb(
        'training.stages.distill_moe', 'distil it into a mixture of experts (VDD)', goes_on=True
    ),
    'finetune': Verb(
        'training.stages.finetune', 'adapt shipped weights to your own recordings', goes_on=True
    ),
    'weighing': Verb('training.stages.weigh.weighing', 'fit the gate and the radii of weights'),
    'export': Verb('training.stages.export', 'write the weights files of a run'),
    'evaluate': Verb(
        'training.judge.accuracy.evaluate', 'score weights on recordings', goes_on=True
    ),
    'evaluate-mixture': Verb(
        'training.judge.accuracy.evaluate_moe', 'score what a mixture says beyond its samples'
    ),
    'evaluate-streams': Verb(
        'training.judge.stream.evaluate_streams', 'score what the node learns on line'
    ),
    'choose-temperature': Verb(
        'training.judge.choose_temperature', 'choose how much samples differ'
    ),
    'calibrate': Verb('training.judge.calibrate', 'fit how often people are within a radius'),
    'benchmark': Verb('training.judge.speed.benchmark', 'time predictions'),
    'report results': Verb('training.report.results', 'write docs/results/results.md from JSON'),
    'report mixture': Verb('training.report.moe_results', 'write docs/results/moe.md from JSON'),
    'report streams': Verb(
        'training.report.stream_results', 'write docs/results/streams.md from JSON'
    ),
    'report weighing': Verb(
        'training.report.weighing_results', 'write docs/results/weighing.md from JSON'
    ),
}


def main() -> int:
    """Run the verb that the command line names; return the exit code."""
    return run('training', VERBS, ABOUT, sys.argv[1:])


if __name__ == '__main__':
    sys.exit(main())
