"""
Write the page of left-out laboratories: python -m training report weighing.

The rows are those that ``python -m training weighing --leave-out --json OUT`` measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from motion_predictor.errors import ConfigError
from motion_predictor.model.candidates import KNOTS_S
from training.report.pages import write_page
from training.report.template import markdown_table
from training.stages.weigh.weighing import FORMAT

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m training report weighing --json docs/results/data/weighing.json \\
      --out docs/results/weighing.md
"""
HEAD = """# Weighing: laboratories left out

This page is written by a command; change the JSON behind it, or
`training/report/weighing_results.py`:

```
{page}
```

Gate and radii are fitted on people that the model has not seen ([how](../guide/prediction.md)).
What they are worth in a laboratory of which they have seen nobody is measured by leaving each out
in turn: by this table their settings are chosen. The last row of each table is the mean.

- **Error**: of the one published future (the weighted mean on the person's own bones), relative
  to the best of the model's mean, damped velocity and standing still, chosen afterwards for each
  horizon and laboratory. 1 is as good as the one that proved best.
- **Energy**: the energy score of all weighted samples, relative to the best of the three.
- *memory off* is the same without what is remembered of the place.

```
{command}
```

Commit `{commit}`{changed}, {date}; {moments} moments of {people} people.
"""


def page(results: Sequence[Mapping[str, Any]], out: Path, images: Path, command: str) -> str:
    """
    Write the page.

    :param results: one, which ``training weighing`` wrote.
    :raises ConfigError: if it is something else.
    """
    if len(results) != 1 or results[0].get('format') != FORMAT:
        raise ConfigError(f'--json: this page is made of one file with format {FORMAT!r}')
    result = results[0]
    text = HEAD.format(
        page=command,
        command=result['command'],
        commit=result['commit'],
        changed=', with changes' if result['modified'] else '',
        date=result['date'],
        moments=result['moments'],
        people=result['people'],
    )
    head = ['laboratory', *(f'{knot:g} s' for knot in KNOTS_S), *(f'{k:g} s' for k in KNOTS_S)]
    for play in sorted({row['play'] for row in result['left_out']}):
        rows = [row for row in result['left_out'] if row['play'] == play]
        tracker = rows[0]['tracker']
        told = [f'{tracker["rate_hz"]:g} Hz']
        told += [f'{1000 * tracker[k]:g} mm of {k[:-2]}' for k in ('noise_m', 'wander_m')
                 if tracker[k]]  # fmt: skip
        told += [f'{100 * tracker["missing"]:g} % of joints missing'] * bool(tracker['missing'])
        told.append('tasks mixed' if rows[0]['order'] == 'random' else "the files' order")
        told.append(f'memory {"on" if rows[0]["memory"] else "off"}')
        numbers = [[*row['error'], *row['energy']] for row in rows]
        means = [sum(column) / len(column) for column in zip(*numbers, strict=True)]
        table = [
            [name, *(f'{value:.2f}' for value in values)]
            for name, values in zip([*(row['laboratory'] for row in rows), '**mean**'],
                                    [*numbers, means], strict=True)
        ]  # fmt: skip
        text += f'\n## {", ".join(told)}\n\nError, then energy, by horizon.\n\n'
        text += markdown_table(head, table) + '\n'
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the words after ``python -m training report weighing``.
    :returns: the exit code: 0, or 2 when a file cannot be used.
    """
    return write_page('training report weighing', __doc__ or '', EXAMPLE, page, arguments)
