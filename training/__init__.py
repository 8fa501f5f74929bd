# SPDX-License-Identifier: Apache-2.0
"""Training of the deployed weights; it runs from the source tree."""

from motion_predictor.moved import keep

keep(
    __name__,
    {
        'judge': 'calibrate temper=choose_temperature',
        'judge.accuracy': 'evaluate evaluate_moe',
        'judge.speed': 'benchmark',
        'judge.stream': 'evaluate_streams',
        'report': 'moe_results results stream_results weighing_results',
        'stages': 'distill distill_moe export finetune train_teacher',
        'stages.weigh': 'weighing',
    },
    {
        'training.benchmark': 'training benchmark',
        'training.calibrate': 'training calibrate',
        'training.distill': 'training train swiftdiff',
        'training.distill_moe': 'training train mixture',
        'training.evaluate': 'training evaluate',
        'training.evaluate_moe': 'training evaluate-mixture',
        'training.evaluate_streams': 'training evaluate-streams',
        'training.export': 'training export',
        'training.finetune': 'training finetune',
        'training.moe_results': 'training report mixture',
        'training.results': 'training report results',
        'training.stream_results': 'training report streams',
        'training.temper': 'training choose-temperature',
        'training.train_teacher': 'training train teacher',
        'training.weighing': 'training weighing',
        'training.weighing_results': 'training report weighing',
    },
)
