"""Write docs/results/avoiding.md from its JSON: python -m studies report avoiding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
from typing import Any

from motion_predictor.errors import ConfigError
from studies.avoiding import avoiding
from studies.avoiding.avoiding_task import GAPS_M, OBSTACLES_M, WAYS
from training.report.page import write_page

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m studies report avoiding --json docs/results/data/avoiding.json \\
      --out docs/results/avoiding.md
"""
HEAD = """# Avoiding obstacles: VDD in its own domain

This page is written by a command; change the JSON behind it, or
`studies/avoiding/avoiding_results.py`:

```
{command}
```

Variational Diffusion Distillation ([vdd.md](vdd.md)) comes from behaviour learning. Before it is
trusted with people's motion it has to show there what its paper (arXiv 2406.12538) says of it.
The task is our own, in the manner of D3IL's Avoiding: a point robot passes {rows} rows of
{obstacles} obstacles, {ways} ways in all, and has to come through without touching one.

- `studies/avoiding/avoiding_task.py`: the task, the scripted demonstrations (as many by every way,
  every step shaken), success and the entropy of the ways.
- `studies/avoiding/planar_policies.py`: a diffusion policy; its consistency distillation (Song et
  al., 2023); mixtures by expectation maximisation and by the information-maximising curriculum,
  IMC (Blessing et al., 2023), on the demonstrations; and VDD of the diffusion policy.

All of them see the robot's position alone and choose {chunk} steps at once. All mixtures are the
same network with as many experts; all students are trained for as many steps. Entropy is that of
the ways of those who came through, to the base of {ways}: 1 where all are used alike.
"""
CLAIM = 0.05
"""Success rates or entropies nearer to each other than this count as alike."""


def table(result: Mapping[str, Any]) -> list[str]:
    """Write the table of methods."""
    lines = [
        '| method | success: mean ± deviation | least | entropy: mean ± deviation | least '
        '| a choice: median ms | p99 ms | times as fast as the teacher |',
        '|---|---:|---:|---:|---:|---:|---:|---:|',
    ]
    for row in result['summary']:
        lines.append(
            f'| {avoiding.METHODS[row["method"]]} '
            f'| {row["success_rate_mean"]:.3f} ± {row["success_rate_spread"]:.3f} '
            f'| {row["success_rate_least"]:.3f} '
            f'| {row["entropy_mean"]:.3f} ± {row["entropy_spread"]:.3f} '
            f'| {row["entropy_least"]:.3f} | {row["call_median_ms"]:.2f} '
            f'| {row["call_p99_ms"]:.2f} | {row["times_as_fast_as_teacher"]:.1f} |'
        )
    return lines


def verdict(summary: Sequence[Mapping[str, Any]], method: str, other: str) -> str:
    """
    Say how a method does beside another, in both measures.

    :returns: as ``success ahead (0.95 to 0.90), entropy alike (0.91 to 0.92)``.
    """
    of = {row['method']: row for row in summary}
    parts = []
    for name, shown in (('success_rate_mean', 'success'), ('entropy_mean', 'entropy')):
        own, theirs = of[method][name], of[other][name]
        word = 'alike' if abs(own - theirs) < CLAIM else 'ahead' if own > theirs else 'behind'
        parts.append(f'{shown} {word} ({own:.3f} to {theirs:.3f})')
    return ', '.join(parts)


def ranking(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write whether each claim of the paper holds here."""
    claims = (
        ('It distils the teacher accurately', ('teacher',)),
        ('It is ahead of other distillations', ('teacher_one', 'consistency')),
        ('It is ahead of mixtures trained on the data', ('em', 'imc')),
    )
    lines = []
    for claim, others in claims:
        found = [verdict(summary, 'vdd', other) for other in others]
        behind = any('behind' in text for text in found)
        ahead = all('ahead' in text for text in found)
        if others == ('teacher',):
            word = 'does not hold' if behind else 'holds'
        else:
            word = 'holds' if ahead and not behind else 'does not hold'
            if not behind and not ahead and any('ahead' in text for text in found):
                word = 'holds in part'
        beside = '; '.join(
            f'beside {avoiding.METHODS[other]}: {text}' for other, text in zip(others, found)
        )
        lines.append(f'- {claim}: **{word}**. VDD {beside}.')
    return lines


def page_text(result: Mapping[str, Any], page: Path, images: Path, command: str) -> str:
    """
    Write the page.

    :raises ConfigError: if the result is of another command.
    """
    if result.get('format') != avoiding.FORMAT:
        raise ConfigError(f'format {result.get("format")!r}: not of {avoiding.FORMAT!r}')
    settings, seeds = result['settings'], result['summary'][0]['seeds']
    link = Path(os.path.relpath(images / 'avoiding.svg', page.parent)).as_posix()
    modified = ' with changes' if result['modified'] else ''
    head = HEAD.format(
        command=command,
        rows=len(GAPS_M),
        obstacles=', '.join(str(len(row)) for _, row in OBSTACLES_M),
        ways=WAYS,
        chunk=settings['chunk'],
    )
    lines = [
        '## Results',
        '',
        f'```\n{result["command"]}\n```',
        '',
        f'Commit `{result["commit"]}`{modified}, {result["date"]}; '
        f'{result["machine"]["processor"]}, {result["machine"]["cores"]} cores, '
        f'{result["threads"]} thread. {seeds} seeds, each with its '
        f'own {settings["demonstrations"]} demonstrations of every way, teacher and students; '
        f'{settings["robots"]} robots for each policy and seed, of which an even use of the ways '
        f'would show an entropy of {settings["entropy_of_even_use"]:.3f}. The teacher takes '
        f'{settings["sampling_steps"]} steps of DDIM and was trained for '
        f'{settings["teacher_steps"]}, the students for {settings["steps"]}; mixtures have '
        f"{settings['experts']} experts. Times are the processor's, of one choice for one "
        'robot, all methods in shuffled turns in one process.',
        '',
        *table(result),
        '',
        f'![Tracks of the first seed: blue through, red not]({link})',
        '',
        "## Whether the paper's ranking holds",
        '',
        f'Means over the seeds; less than {CLAIM} apart counts as alike. A claim to be ahead '
        'holds where VDD is ahead of each in success or in entropy and behind none in either.',
        '',
        *ranking(result['summary']),
        '',
        '## What this does not show',
        '',
        'One small task of two dimensions, with networks and budgets of our own; settings were '
        'chosen by hand on other seeds. The paper judges nine tasks with larger networks.',
    ]
    return head + '\n' + '\n'.join(lines) + '\n'


def _of_one(results: Sequence[Mapping[str, Any]], page: Path, images: Path, command: str) -> str:
    if len(results) != 1:
        raise ConfigError(f'--json: {len(results)} files; give the one of studies avoiding')
    return page_text(results[0], page, images, command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return write_page('studies report avoiding', __doc__ or '', EXAMPLE, _of_one, arguments)
