# SPDX-License-Identifier: Apache-2.0
"""The claims that ``studies ablate`` tests, and their verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from studies.common.verdicts import gain, verdict


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim that holds if one row is better than another."""

    text: str
    better: str
    worse: str


CLAIMS = (
    Claim(
        text='Two stages are better than one (the paper), the same number of fixed pairs each',
        better='pairs_one_step',
        worse='pairs_ddim_25',
    ),
    Claim(
        text='Two stages are better than one, as the second has new noise in every step',
        better='teacher_alone',
        worse='pairs_ddim_25',
    ),
    Claim(
        text="In the whole recipe too: the one-step teacher alone, the DDIM's pairs alone",
        better='base_two_stages',
        worse='base_one_stage',
    ),
    Claim(
        text='There, both together are better than the one-step teacher alone',
        better='base',
        worse='base_two_stages',
    ),
    Claim(
        text="... and than the DDIM's pairs alone",
        better='base',
        worse='base_one_stage',
    ),
    Claim(
        text='Mean square is better than KL (the paper), KL of softmaxes',
        better='teacher_alone',
        worse='kl_softmax',
    ),
    Claim(
        text='Mean square is better than KL (the paper), KL of Gaussians fitted to samples',
        better='mse_4',
        worse='kl_gaussian',
    ),
    Claim(
        text='A student that gives x0 is better than one of eps', better='base', worse='eps_991'
    ),
    Claim(
        text='A student of eps is better from less noise: t* 951 (the paper) against 991',
        better='eps_951',
        worse='eps_991',
    ),
    Claim(text='... t* 801 against 951', better='eps_801', worse='eps_951'),
    Claim(
        text="The DDIM's end point is a better target than the teacher's own x0",
        better='pairs_ddim_25',
        worse='pairs_x0',
    ),
    Claim(
        text='100 DDIM steps behind the target are better than 25',
        better='pairs_ddim_100',
        worse='pairs_ddim_25',
    ),
    Claim(text='25 DDIM steps are better than 5', better='pairs_ddim_25', worse='pairs_ddim_5'),
    Claim(
        text='The recipe is better than matching the teacher alone (the paper)',
        better='base',
        worse='teacher_alone',
    ),
    Claim(text='The best-of-S term on the real future helps', better='base', worse='no_real'),
    Claim(text='The energy score helps', better='base', worse='no_spread'),
    Claim(text='The teacher helps, beside the real futures', better='base', worse='no_match'),
    Claim(text='Twice the width is better', better='width_double', worse='base'),
    Claim(text='Half the width is worse', better='base', worse='width_half'),
    Claim(text='Depth 5 is better than 3', better='base', worse='depth_3'),
    Claim(text='Depth 1 is worse than 5', better='base', worse='depth_1'),
)


def claims(by_row: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return what the rows say about each claim that can be judged."""
    lines: list[str] = []
    for claim in CLAIMS:
        if not {claim.better, claim.worse} <= set(by_row):
            continue
        errors = {
            split: [
                [found['error'][split] for found in by_row[name]]
                for name in (claim.better, claim.worse)
            ]
            for split in by_row[claim.better][0]['error']
        }
        first, second = errors['val'] if 'val' in errors else next(iter(errors.values()))
        differences = ', '.join(
            f'{split} {gain(mine, others)}' for split, (mine, others) in errors.items()
        )
        signs = {np.sign(np.mean(mine) - np.mean(others)) for mine, others in errors.values()}
        judged = verdict(first, second)
        if len(signs) > 1 and not judged.startswith('undecided'):
            judged = 'undecided (the splits differ)'
        lines.append(
            f'- {claim.text}: **{judged}** (`{claim.better}` against '
            f'`{claim.worse}`: {differences}).'
        )
    return '\n'.join(lines)
