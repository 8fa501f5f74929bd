# SPDX-License-Identifier: Apache-2.0
"""Write docs/results/streams.md from the JSON of training evaluate-streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from motion_predictor.errors import ConfigError
from training.judge.stream import evaluate_streams
from training.judge.stream.stream_scores import BEST_OF, LEVELS, MODEL, PUBLISHED
from training.judge.stream.stream_tables import ALLOWED
from training.judge.stream.streams import HORIZONS_S
from training.report.page import markdown_table, render, write_page

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m training report streams --json docs/results/data/streams*.json \\
      --out docs/results/streams.md
The first file is shown in full, of the others the ratios, radii and running errors; of weights
other than the first one's the errors too.
"""
GROUPS = {'all': '', 'kind': 'kind: ', 'laboratory': 'laboratory: ', 'minutes': 'minutes: '}


def page_text(results: Sequence[Mapping[str, Any]], page: Path, images: Path, command: str) -> str:
    """
    Return the text of the page.

    :param results: results of ``training evaluate-streams``; the first is shown in full.
    :param page: not used: there are no plots.
    :param images: not used.
    :param command: the command that makes the page.
    :raises ConfigError: if a result is of something else.
    """
    if not results:
        raise ConfigError('--json: name at least one file of training evaluate-streams')
    for result in results:
        known = (evaluate_streams.FORMAT, evaluate_streams.VERSION)
        if (result.get('format'), result.get('version')) != known:
            raise ConfigError(
                f'--json: {result.get("format")!r}, version {result.get("version")}: this page is '
                f'made of {known[0]!r}, version {known[1]}; run training evaluate-streams again'
            )
    gap = f'{results[0]["settings"]["gap_s"]:g} s'
    usual = weights_of(results[0])
    sections = [
        section(result, usual, in_full=number == 0) for number, result in enumerate(results)
    ]
    glance = overview(results) if len(results) > 1 else ''
    text = render('streams.md', command=command, gap=gap, overview=glance, sections=sections)
    return text + '\n'


def weights_of(result: Mapping[str, Any]) -> str:
    """Return the name of the weights with which a stream was played."""
    return ', '.join(dict.fromkeys(Path(place['weights']).stem for place in result['places']))


def conditions(result: Mapping[str, Any], usual: str) -> str:
    """
    Return in words how a stream was played.

    :param result: the result.
    :param usual: weights that are not named.
    """
    settings = result['settings']
    tracker = settings['tracker']
    weights = weights_of(result)
    words = [] if weights == usual else [f'weights {weights}']
    words.append(f'{tracker["rate_hz"]:g} Hz')
    if tracker['noise_m']:
        words.append(f'{1000 * tracker["noise_m"]:g} mm of white noise')
    if tracker['wander_m']:
        words.append(f'{1000 * tracker["wander_m"]:g} mm of slow noise')
    if tracker['missing']:
        words.append(f'joints unseen for {100 * tracker["missing"]:g} % of the time')
    if not (tracker['noise_m'] or tracker['wander_m'] or tracker['missing']):
        words.append('no noise')
    if settings['regimes']:
        words.append('another kind of motion every 5 to 20 s')
    else:
        words.append({'files': "the files' order", 'random': 'tasks mixed'}[settings['order']])
    if settings.get('places') == 'subject':
        words.append('each person in a place of their own')
    if settings['memory'] == 'off':
        words.append('memory off')
    return ', '.join(words)


def overview(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the ratios of all results beside each other; laboratories have equal weights."""
    rows, usual = [], weights_of(results[0])
    for result in results:
        over = result['over_laboratories']
        for what in ('error', 'energy'):
            worst = zip(over[f'{what}_ratio_max'], over[f'{what}_ratio_max_of'], strict=True)
            rows.append(
                [
                    f'{conditions(result, usual)}: {what}',
                    *(f'{value:.2f}' for value in over[f'{what}_ratio_mean']),
                    *(f'{value:.2f} {name}' for value, name in worst),
                ]
            )
    head = ['ratio to the best candidate']
    head += [f'mean, {h}' for h in _horizons()] + [f'worst, {h}' for h in _horizons()]
    return markdown_table(head, rows)


def section(result: Mapping[str, Any], usual: str, *, in_full: bool) -> str:
    """
    Return the section of one result.

    :param result: result of ``training evaluate-streams``.
    :param usual: weights that are not named in the title.
    :param in_full: whether to show every table; otherwise only ratios, radii and running errors.
    """
    whole = in_full or weights_of(result) != usual
    return render(
        'stream.md',
        result=result,
        in_full=in_full,
        allowed=ALLOWED,
        conditions=conditions(result, usual),
        places=_places(result),
        errors=_errors(result) if whole else '',
        ratios=_ratios(result, 'error'),
        candidates=_candidates(result, 'error_cm') if whole else '',
        joints=_joints(result) if in_full else '',
        energy=_candidates(result, 'energy') if in_full else '',
        energy_ratios=_ratios(result, 'energy'),
        best_of=_best_of(result) if in_full else '',
        running=_running(result),
        radii=_radii(result),
    )


def _horizons() -> list[str]:
    return [f'{h:g} s' if h != HORIZONS_S[0] else '.25 s' for h in HORIZONS_S]


def _named(row: Mapping[str, Any]) -> str:
    return f'**{row["name"]}**' if row['by'] == 'all' else GROUPS[row['by']] + row['name']


def _places(result: Mapping[str, Any]) -> str:
    rows = []
    for place in result['places']:
        missed = ', '.join(f'{count} {why}' for why, count in place['not_predicted'].items())
        rows.append(
            [
                f'`{place["file"]}`{" " + place["place_of"] if place.get("place_of") else ""}',
                str(place['takes']),
                str(len(place['subjects'])),
                f'{place["minutes"]:.1f}',
                str(place['predictions']),
                missed.replace('_', ' ') or '0',
                f'`{place["weights"]}` `{place["weights_sha256"][:12]}`',
                f'`{place["sha256"][:12]}`',
            ]
        )
    head = ['place', 'clips', 'people', 'minutes', 'predictions', 'not predicted', 'weights']
    return markdown_table([*head, 'SHA-256'], rows)


def _errors(result: Mapping[str, Any]) -> str:
    rows = []
    for row in result['rows']:
        cells = [
            f'{value:.1f} ({low:.1f} to {high:.1f})'
            for value, (low, high) in zip(
                row['error_cm'][PUBLISHED], row['error_interval95_cm'], strict=True
            )
        ]
        rows.append([_named(row), str(row['predictions']), str(row['clips']), *cells])
    return markdown_table(['', 'predictions', 'clips', *_horizons()], rows)


def _ratios(result: Mapping[str, Any], what: str) -> str:
    rows = []
    for row in result['rows']:
        cells = [
            f'{ratio:.2f} ({low:.2f} to {high:.2f}) {best}'
            for ratio, (low, high), best in zip(
                row[f'{what}_ratio'],
                row[f'{what}_ratio_interval95'],
                row[f'{what}_best'],
                strict=True,
            )
        ]
        rows.append([_named(row), *cells])
    return markdown_table(['with the best one', *_horizons()], rows)


def _candidates(result: Mapping[str, Any], what: str) -> str:
    names = list(result['rows'][0][what])
    digits = 1 if what == 'error_cm' else 3
    rows = []
    for row in result['rows']:
        cells = (_four(row[what].get(name), digits) for name in names)
        rows.append([_named(row), *cells])
    return markdown_table(['at .25, .5, 1 and 2 s', *names], rows)


def _joints(result: Mapping[str, Any]) -> str:
    joints = result['joints']
    rows = [
        [joint, *(_four(group['error_cm'][joint], 1) for group in joints)]
        for joint in joints[0]['error_cm']
    ]
    return markdown_table(['at .25, .5, 1 and 2 s', *(group['name'] for group in joints)], rows)


def _best_of(result: Mapping[str, Any]) -> str:
    rows = []
    for row in result['rows']:
        cells: list[str] = []
        for name in (PUBLISHED, MODEL):
            cells += [f'{row["best_of"][name][measure]:.3f}' for measure in BEST_OF]
        rows.append([_named(row), *cells])
    shown = [f'{part} {measure.upper()}' for part, measure in (of.split('.') for of in BEST_OF)]
    head = [f'{name}: {measure}' for name in (PUBLISHED, MODEL) for measure in shown]
    return markdown_table(['', *head], rows)


def _running(result: Mapping[str, Any]) -> str:
    rows = []
    for row in result['running']:
        counts = [str(row['persons']), str(row['minutes'])]
        if row['max'] is None:
            rows.append([row['name'], *counts, *['-'] * len(HORIZONS_S)])
            continue
        cells = [f'{top:.2f} ({most:.2f})' for top, most in zip(row['max'], row['q99'])]
        if 'above' in row:
            above = zip(row['above'], row['above_by_cm'])
            more = [f'; {100.0 * share:.1f} %, {by:.1f} cm' for share, by in above]
            cells = [cell + after for cell, after in zip(cells, more)]
        rows.append([row['name'], *counts, *cells])
    return markdown_table(['', 'people', 'minutes', *_horizons()], rows)


def _radii(result: Mapping[str, Any]) -> str:
    rows = []
    for row in result['radii']:
        cells = [str(row['predictions'])]
        cells += [f'{100 * held:.1f} ({100 * of[2]:.1f})' for held, of in _held(row)]
        cells += [_several([of[2] for of in row['radius_m']], 2)]
        cells += [_several(row['ratio_1s'], 2)]
        cells += [_several([100.0 * of[2] for of in row['volume_of_iso']], 2)]
        rows.append([_named(row), *cells])
    levels = [f'held of {100 * level:g} %' for level in LEVELS]
    head = ['', 'predictions', *levels, 'radius at 1 s, m', 'against the simple one', '% of ISO']
    return markdown_table(head, rows)


def _held(row: Mapping[str, Any]) -> Iterator[tuple[float, Sequence[float]]]:
    yield from zip(row['held_of_all_horizons'], row['held'], strict=True)


def _four(values: Sequence[float] | None, digits: int) -> str:
    return '-' if values is None else _several(values, digits)


def _several(values: Sequence[float], digits: int) -> str:
    return ' '.join(f'{value:.{digits}f}' for value in values)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the words after ``python -m training report streams``.
    :returns: the exit code: 0, or 2 if a file cannot be used.
    """
    return write_page('training report streams', __doc__ or '', EXAMPLE, page_text, arguments)
