# SPDX-License-Identifier: Apache-2.0
"""The plot of the densities with the experts of every method."""

from __future__ import annotations

from collections.abc import Mapping
import math
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
import numpy as np

from motion_predictor.model.networks.mixture import GaussianMixture
from studies.toy.fitting import METHODS
from studies.toy.toy_densities import DENSITIES, EXTENT, Quadrature
from training.judge import plots


def draw(mixtures: Mapping[str, Mapping[str, GaussianMixture]], folder: Path) -> Path:
    """
    Draw the densities with the experts of each method as ellipses (two deviations).

    :param mixtures: mixtures by density and method.
    :returns: the file written, ``toy_vdd.svg``.
    """
    shown = list(METHODS)
    figure = Figure(figsize=(3 * len(shown), 3.1 * len(mixtures)), layout='constrained')
    grid = figure.subplots(len(mixtures), len(shown), squeeze=False)
    quadrature = Quadrature.over_the_plane(60)
    for row, (name, of_method) in zip(grid, mixtures.items()):
        log_p = DENSITIES[name]().log_prob(quadrature.points).view(60, 60).T
        for axes, method in zip(row, shown):
            mixture = of_method[method]
            axes.imshow(
                log_p.exp(), origin='lower', extent=(-EXTENT, EXTENT) * 2, cmap='Greys',
                interpolation='nearest',
            )  # fmt: skip
            weights = mixture.log_weights[0].exp()
            for weight, mean, matrix in zip(
                weights, mixture.means[0], mixture.covariance.matrix()[0]
            ):
                values, vectors = np.linalg.eigh(matrix.double().numpy())
                angle = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))
                wide, high = 4.0 * np.sqrt(values[::-1])
                opacity = min(1.0, 0.1 + 0.9 * float(weight) * mixture.experts)
                axes.add_patch(
                    Ellipse(
                        tuple(mean.tolist()), wide, high, angle=angle, fill=False, lw=1.2,
                        color='#c2181a', alpha=opacity,
                    )
                )  # fmt: skip
            axes.set(xticks=[], yticks=[], title=f'{name}: {METHODS[method]}')
            axes.title.set_fontsize(9)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'toy_vdd.svg'
    with matplotlib.rc_context({'image.composite_image': True}):
        plots.save(figure, path)
    return path
