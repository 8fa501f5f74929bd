"""Write docs/results/vdd.md from the JSON of its commands: python -m studies report toy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
from typing import Any

from motion_predictor.errors import ConfigError
from studies.toy import toy_vdd
from studies.toy.fitting import METHODS
from training.report.page import write_page

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m studies report toy --json docs/results/data/toy_vdd*.json --out docs/results/vdd.md
"""
HEAD = """# Variational Diffusion Distillation

This page is written by a command; change the JSON behind it, or `studies/toy/vdd_results.py`:

```
{command}
```

The method (arXiv 2406.12538) distils a diffusion model, known through its score, into a mixture
of Gaussian experts: all futures, their weights, a likelihood and every joint's covariance in one
pass.

- `motion_predictor/model/networks/mixture.py`: the mixture; covariances diagonal, full, diagonal
  plus low rank.
- `training/stages/vdd.py`: the experts' bound, the gate, the choice of noise levels, and the
  extensions: noised queries, annealed band, tempered responsibilities, warm start, fading
  likelihood of the teacher's samples, likelihood of recordings.
- `training/stages/mixture/`: motion. The mixture is over the main directions of the whitened
  coefficients; its controls are `moe.method=em_data`, `em_teacher` and `winner`.
- `motion_predictor/predict/mixture_forecast.py`, `novelty.py`: moments in closed form, and how
  unlikely it was what somebody did in the half second after a forecast.
"""
STATUS = """## What is shown and what is not

- Shown by tests: densities and gradients against PyTorch's distributions and against the log
  likelihood; a student that equals its teacher has nothing to learn; every mode of a square of
  Gaussians is found from an exact score; closed-form moments agree with samples.
- VDD was far behind EM on the data in KL(q, p), for four causes, each met. The gradient was
  noisy: with the experts' entropies in closed form its noise does not vanish where the student
  is the teacher (now `path_gradient`, the entropy at the samples). The toy teacher's score was
  wrong at low noise, where VDD asks it (it is told the logarithm of the noise, shown more of the
  low levels, every noise with its mirror image, and learns at a higher rate). Some experts came to
  span two modes or left one (now a warm start on the teacher's samples). And experts were not
  shared out among the parts as the mass is (now they start at k-means centres, as EM's do).
- What is left is the teacher's: from the exact score, at the same steps and settings, VDD comes
  closer than EM on the data. From a learned one it depends on how near the teacher is, and on how
  many points EM has: the tables below, of the same recipe at several sizes, count the seeds. The
  grid is a mixture of EM's own kind, of which EM is the efficient estimate. The band of noise ends
  at the lowest levels, where teachers of few points are the least to be trusted: with 2000 points
  and a band that ended at .01 to .05 VDD was closer in 3, 1 and 5 seeds of 10 of rings, moons and
  grid, medians of KL(q, p) .120, .070 and .018.
- Motion weights trained by VDD are shipped (`moe`); [moe.md](moe.md) measures them beside
  SwiftDiff and controls of the same length.
- Its own domain is on [a page of its own](avoiding.md): a planar avoiding task, where VDD keeps
  its teacher's success and ways at a fraction of the time.
"""


def toy_section(result: Mapping[str, Any], page: Path, image: Path | None) -> str:
    """
    Write a section of the toy densities.

    :param result: of ``studies toy``.
    :param page: the page's path, from which the figure is linked.
    :param image: the figure, already drawn; None for none.
    """
    settings = result['settings']
    lines = [
        f'## Densities of the plane, {settings["points"]} points',
        '',
        f'```\n{result["command"]}\n```',
        '',
        f'Commit `{result["commit"]}`{" with changes" if result["modified"] else ""}, '
        f'{result["date"]}. {settings["points"]} points of each density, a diffusion '
        f'teacher of width {settings["width"]} trained on them once ({settings["teacher_steps"]} '
        f'steps), {settings["samples"]} samples of it for each seed, {settings["steps"]} steps of '
        'distillation. A mode counts as found with a quarter of its mass; divergences by '
        'quadrature, in nats. EM and VDD start alike, at the best of ten sets of centres by '
        'k-means++, of the points or samples that they are given. Fits are kept between calls of '
        'the command.',
        '',
        '| density | method | experts | seeds | all modes found | KL(q, p) median | worst '
        '| KL(p, q) median | worst | KL(q, p) below EM on data |',
        '|---|---|---:|---:|---:|---:|---:|---:|---:|---:|',
    ]
    for row in result['summary']:
        lines.append(
            f'| {row["density"]} | {METHODS[row["method"]]} | {row["experts"]} '
            f'| {row["seeds"]} | {row["all_modes_found"]} | {row["kl_q_p_median"]:.3f} '
            f'| {row["kl_q_p_worst"]:.3f} | {row["kl_p_q_median"]:.3f} '
            f'| {row["kl_p_q_worst"]:.3f} | {row["closer_than_em_data"]} |'
        )
    known = {row['method'] for row in result['summary']}
    for method in ('vdd', 'vdd_exact'):
        if method not in known:
            continue
        own = [row for row in result['summary'] if row['method'] == method]
        found = [row['density'] for row in own if 10 * row['all_modes_found'] >= 9 * row['seeds']]
        closer = [row['density'] for row in own if 2 * row['closer_than_em_data'] > row['seeds']]
        lines += [
            '',
            f'Wanted of VDD: every mode in at least 9 of 10 seeds. {METHODS[method]} has '
            f'it on: {", ".join(found) or "none"}.',
            'Wanted of VDD: closer in KL(q, p) than EM on the data. '
            f'{METHODS[method]} has it for most seeds on: {", ".join(closer) or "none"}.',
        ]
    if any('kl_teacher_p' in own for own in result['teachers']):
        lines += ['', *teacher_table(result)]
    if image is not None:
        link = Path(os.path.relpath(image, page.parent)).as_posix()
        lines += ['', f'![Experts of the first seed, two deviations]({link})']
    return '\n'.join(lines)


def teacher_table(result: Mapping[str, Any]) -> list[str]:
    """Write how far the teachers themselves are from the densities, beside EM on the data."""
    lines = [
        'What the teachers themselves have made of the points, by the likelihood of their '
        'probability flow, beside the mixtures. A student can be expected to come no nearer than '
        'its teacher, but for what its few experts smooth out.',
        '',
        '| density | KL(teacher, p) | KL(p, teacher) | KL(q, p) of VDD | of VDD, exact score '
        '| of EM on the data |',
        '|---|---:|---:|---:|---:|---:|',
    ]
    for own in result['teachers']:
        of = {
            row['method']: row['kl_q_p_median']
            for row in result['summary']
            if row['density'] == own['density']
        }
        lines.append(
            f'| {own["density"]} | {own["kl_teacher_p"]:.3f} | {own["kl_p_teacher"]:.3f} '
            f'| {of["vdd"]:.3f} | {of["vdd_exact"]:.3f} | {of["em_data"]:.3f} |'
        )
    return lines


def page_text(results: Sequence[Mapping[str, Any]], page: Path, images: Path, command: str) -> str:
    """
    Write the page.

    :raises ConfigError: if a result is of another command.
    """
    parts = [HEAD.format(command=command), STATUS]
    for number, result in enumerate(results):
        found = (result.get('format'), result.get('version'))
        if found != (toy_vdd.FORMAT, toy_vdd.VERSION):
            raise ConfigError(
                f'format {found[0]!r}, version {found[1]}: must be {toy_vdd.FORMAT!r}, '
                f'{toy_vdd.VERSION}'
            )
        parts.append(toy_section(result, page, None if number else images / 'toy_vdd.svg'))
    return '\n'.join(part.rstrip('\n') + '\n' for part in parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return write_page('studies report toy', __doc__ or '', EXAMPLE, page_text, arguments)
