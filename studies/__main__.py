# SPDX-License-Identifier: Apache-2.0
"""Experiments on the recipe of the training, each with a page: ``python -m studies VERB``."""

from __future__ import annotations

import sys

from training.common.verbs import run, Verb

ABOUT = 'Measures what the recipe is worth; nothing that is shipped needs it.'
VERBS = {
    'tune': Verb('studies.tune.tune', 'tune SwiftDiff by Bayesian optimisation', goes_on=True),
    'ablate': Verb(
        'studies.ablation.ablate', "what each part of SwiftDiff's training is worth", goes_on=True
    ),
    'ablate-teacher': Verb(
        'studies.ablation.ablate_teacher', 'likewise of the teacher', goes_on=True
    ),
    'ablate-mixture': Verb('studies.ablation.ablate_moe', 'likewise of the mixture', goes_on=True),
    'consistency': Verb(
        'studies.consistency', 'a control: distil the teacher by consistency', goes_on=True
    ),
    'toy': Verb('studies.toy.toy_vdd', 'VDD on densities that can be looked at', goes_on=True),
    'behaviour': Verb(
        'studies.behaviour.behaviour', 'VDD in its own domain, behaviour learning', goes_on=True
    ),
    'report recipe': Verb(
        'studies.ablation.recipe_results',
        'write docs/results/tuning.md and docs/results/ablations.md from JSON',
    ),
    'report claims': Verb(
        'studies.claims', 'write docs/results/claims.md, what the papers claim, from JSON'
    ),
    'report toy': Verb('studies.toy.vdd_results', 'write docs/results/vdd.md from JSON'),
    'report behaviour': Verb(
        'studies.behaviour.behaviour_results', 'write docs/results/behaviour.md from JSON'
    ),
}


def main() -> int:
    """Run the verb that the command line names; return the exit code."""
    return run('studies', VERBS, ABOUT, sys.argv[1:])


if __name__ == '__main__':
    sys.exit(main())
