# SPDX-License-Identifier: Apache-2.0
"""Take over rows from an earlier evaluation of the same weights, data and settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.common import provenance
from training.judge.accuracy.models import FORMAT, Model, VERSION
from training.judge.scoring import (
    COMPARED,
    rounded,
)


def earlier_rows(
    result: Mapping[str, Any], path: Path, model: Model
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]] | None:
    """
    Return the rows of an earlier evaluation of the same weights, data and settings.

    :param result: this evaluation so far: its settings and data.
    :param path: JSON of the earlier evaluation.
    :param model: the model; its file's digest is looked up.
    :returns: the model's facts with the commits of the earlier run, and its rows by group; None if
        anything that the figures depend on differs.
    :raises ConfigError: if the file holds no evaluation.
    """
    old = provenance.read_result(path, FORMAT, VERSION)
    facts = next((m for m in old['models'] if m.get('sha256') == model.sha256), None)
    same_data = [d['sha256'] for d in old['data']] == [d['sha256'] for d in result['data']]
    settings = {'tracker_noise_m': 0.0, **old['settings']}
    if facts is None or not same_data or settings != result['settings']:
        return None
    rows = {
        f'{row["set"]}/{row["split"]}': {**row, 'model': model.name, 'label': model.label}
        for row in old['rows']
        if row['model'] == facts['model']
    }
    for row in rows.values():
        row['taken_over_from'] = row.get('taken_over_from', old['commit'])
        row.pop('against', None)
    return {**facts, 'model': model.name, 'label': model.label}, rows


def ratios_of_means(
    reference: str, row: Mapping[str, Any], theirs: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Return the ratios of mean errors to those of a row that was taken over.

    The errors of its single windows are no longer known, so there is no interval.
    """
    found: dict[str, Any] = {'model': reference}
    for name in COMPARED:
        part, measure = name.split('.')
        ratio = rounded(row[part][measure] / theirs[part][measure])
        found[name] = {'ratio': ratio, 'interval95': None}
    return found
