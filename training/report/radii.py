# SPDX-License-Identifier: Apache-2.0
"""The section of ``training calibrate``: the share that radii hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.report.page import markdown_table, render


def calibration_section(result: Mapping[str, Any], images: Path, page: Path) -> str:
    """
    Return the section of one calibration.

    :param result: result of ``training calibrate``.
    :param images: not used: there are only tables.
    :param page: not used.
    """
    last = result['rows'][-1]
    return render(
        'radii.md',
        result=result,
        fitted=', '.join(f'`{name}`' for name in result['settings']['fitted_on']),
        last=last['data'].replace('/', ', '),
        shares=_shares_table(result['rows']),
        by_subject=_subjects_table(last['levels']),
        by_instant=_instants_table(last['levels']),
        by_joint=_joints_table(last['levels'], result['joints']),
    )


def _shares_table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ['data', 'windows', 'asked', 'held', 'held, following', 'held, widening']
    head += ["held by the samples' own ball", 'median radius m', 'following m', 'widening m']
    head += ["of the samples' ball m"]
    body = [
        [
            row['data'].replace('/', ', '), str(row['windows']), f'{level["level"]:.1%}',
            f'{level["held"]:.1%}',
            *(f'{level["followed"][mode]["held"]:.1%}' for mode in ('both', 'widen')),
            f'{level["held_by_samples_ball"]:.1%}', f'{level["median_radius_m"]:.3f}',
            *(f'{level["followed"][mode]["median_radius_m"]:.3f}' for mode in ('both', 'widen')),
            f'{level["median_radius_of_samples_m"]:.3f}',
        ]
        for row in rows
        for level in row['levels']
    ]  # fmt: skip
    return markdown_table(head, body)


def _subjects_table(levels: Sequence[Mapping[str, Any]]) -> str:
    ways = [
        f'{one}, {way}' for one in _asked(levels) for way in ('fixed', 'following', 'widening')
    ]
    body = [
        [
            name, str(counted['windows']),
            *(
                f'{level["by_subject"][name][mode]:.1%}'
                for level in levels for mode in ('fixed', 'both', 'widen')
            ),
        ]
        for name, counted in levels[0]['by_subject'].items()
    ]  # fmt: skip
    return markdown_table(['subject', 'windows', *ways], body)


def _instants_table(levels: Sequence[Mapping[str, Any]]) -> str:
    instants = list(levels[0]['by_second'])
    body = [
        [f'{level["level"]:.1%}', *(f'{level["by_second"][s]:.1%}' for s in instants)]
        for level in levels
    ]
    return markdown_table(['asked', *instants], body)


def _joints_table(levels: Sequence[Mapping[str, Any]], joints: Sequence[str]) -> str:
    body = [
        [joint, *(f'{level["by_joint"][number]:.1%}' for level in levels)]
        for number, joint in enumerate(joints)
    ]
    return markdown_table(['joint', *_asked(levels)], body)


def _asked(levels: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f'asked {level["level"]:.1%}' for level in levels]
