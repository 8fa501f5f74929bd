# SPDX-License-Identifier: Apache-2.0
"""Plots of a mixture of experts beyond its samples, drawn from the JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from training.judge.plots import save


def draw_reliability(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """
    Draw how often experts of a given weight were the nearest, against that weight.

    :param rows: rows of mixtures from ``training evaluate-mixture``; one line each.
    :param path: the SVG to write; a missing folder is made.
    """
    figure = Figure(figsize=(4.5, 4), layout='constrained')
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), color='black', lw=0.8, ls=':')
    for row in rows:
        bins = row['reliability']['bins']
        label = f'{row["set"]}, {row["split"]}: ECE {row["reliability"]["ece"]:.3f}'
        axes.plot(
            [b['said'] for b in bins], [b['was'] for b in bins], marker='o', ms=3, label=label
        )
    axes.set(xlabel='weight of an expert', ylabel='share of windows where it was nearest')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path)
    return path


def draw_roc(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """
    Draw the share of a held-out kind of motion that is detected, against false alarms.

    :param rows: rows with a 'roc' from ``training evaluate-mixture``; one line each.
    :param path: the SVG to write; a missing folder is made.
    """
    figure = Figure(figsize=(4.5, 4), layout='constrained')
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), color='black', lw=0.8, ls=':')
    for row in rows:
        curve = row['roc']
        label = f'{row["model"]}, {row["split"]}: AUC {curve["auc"]:.3f}'
        axes.plot(curve['false_alarms'], curve['detected'], label=label)
        axes.plot(row['false_alarms'], row['detected'], marker='o', ms=4, color='black')
    axes.set(xlabel='false alarms on ordinary windows', ylabel='detected of the held-out kind')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc='lower right')
    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path)
    return path
