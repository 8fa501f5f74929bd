# SPDX-License-Identifier: Apache-2.0
"""Write the results page from JSON: python -m training report results.

Every number on the page comes from those files, each with its command, commit and weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
import sys
from typing import Any

from motion_predictor.common.files import read_json
from motion_predictor.common.whole_files import write_whole
from motion_predictor.errors import ConfigError, MotionPredictorError
from training.common import provenance
from training.common.options import about, read_options
from training.judge import calibrate, choose_temperature, plots
from training.judge.accuracy import evaluate
from training.judge.speed import benchmark
from training.report.accuracy import (
    evaluation_section,
    knows_neighbours,
    neighbours_section,
    noise_section,
)
from training.report.page import render
from training.report.radii import calibration_section
from training.report.temperatures import temperature_section
from training.report.times import benchmark_section

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m training report results \\
      --json docs/results/data/evaluation.json docs/results/data/benchmark.json --out
  docs/results/results.md
"""


@dataclass(frozen=True, kw_only=True)
class ResultsOptions:
    """Options of ``report results``."""

    json: tuple[Path, ...]
    """Results of training evaluate and training benchmark."""
    out: Path
    """File for the page, in Markdown; plots go to images/ beside it."""
    dry_run: bool = False
    """Print what would be written."""


SECTIONS: dict[str, Callable[[Mapping[str, Any], Path, Path], str]] = {
    evaluate.FORMAT: evaluation_section,
    choose_temperature.FORMAT: temperature_section,
    calibrate.FORMAT: calibration_section,
    benchmark.FORMAT: benchmark_section,
}


def write_page(results: Sequence[Mapping[str, Any]], page: Path, command: str) -> None:
    """
    Write the page and its plots.

    :param results: results of evaluations and benchmarks; evaluations come first on the page,
        those behind a noisy tracker after the others.
    :param page: the Markdown file; plots go to ``images`` beside it.
    :param command: the command that makes the page.
    """
    images = page.parent / 'images'
    order = list(SECTIONS)
    sections: list[str] = []
    behind_noise = [result for result in results if is_noisy(result)]
    remembered = [result for result in results if is_beside_neighbours(result)]
    plain = [result for result in results if not is_extra(result)]
    for result in sorted(plain, key=lambda result: order.index(result['format'])):
        if result['format'] == evaluate.FORMAT:
            plots.draw_horizons(result, images)
        elif result['format'] == benchmark.FORMAT:
            plots.draw_latencies(result, images)
        section = SECTIONS[result['format']](result, images, page)
        if sum(other['format'] == result['format'] for other in plain) > 1 and 'model' in result:
            heading, rest = section.split('\n', 1)
            section = f'{heading}: {result["model"]}\n{rest}'
        sections.append(section)
        if result['format'] == evaluate.FORMAT and behind_noise:
            sections.append(noise_section(behind_noise))
        if result['format'] == evaluate.FORMAT:
            sections += [neighbours_section(each) for each in remembered]
    page.parent.mkdir(parents=True, exist_ok=True)
    text = render('results.md', command=command, sections=sections)
    write_whole(page, text + '\n')


def is_noisy(result: Mapping[str, Any]) -> bool:
    """Return whether a result is an evaluation behind a noisy tracker."""
    return bool(result.get('settings', {}).get('tracker_noise_m'))


def is_beside_neighbours(result: Mapping[str, Any]) -> bool:
    """Return whether a result is an evaluation with the nearest neighbours."""
    return result['format'] == evaluate.FORMAT and knows_neighbours(result)


def is_extra(result: Mapping[str, Any]) -> bool:
    """Return whether a result has a section of its own beside the evaluation's."""
    return is_noisy(result) or is_beside_neighbours(result)


def read_result(path: Path) -> dict[str, Any]:
    """
    Read the JSON of an evaluation, a temperature, a calibration or a benchmark.

    :raises ConfigError: if it is none of these.
    """
    result = read_json(path, ConfigError)
    if not isinstance(result, dict) or result.get('format') not in SECTIONS:
        raise ConfigError(
            f'{path}: not of training evaluate, choose-temperature, calibrate or benchmark; '
            f'"format" must be one of {", ".join(SECTIONS)}'
        )
    modules = (evaluate, choose_temperature, calibrate, benchmark)
    known = {module.FORMAT: module.VERSION for module in modules}
    if result.get('version') != known[result['format']]:
        raise ConfigError(
            f'{path}: version {result.get("version")}, this command reads '
            f'{known[result["format"]]}; run the command that made it again'
        )
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the words after ``python -m training report results``.
    :returns: the exit code: 0, or 2 if a file cannot be used.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(
        ResultsOptions, 'training report results', about(__doc__), EXAMPLE, words
    )
    try:
        results = [read_result(path) for path in options.json]
        counted = Counter(
            (result['format'], result.get('model')) for result in results if not is_extra(result)
        )
        for (one, model), count in counted.items():
            if count > 1:
                of = f' of {model}' if model else ''
                raise ConfigError(f'--json: {count} files of format {one!r}{of}; give one of each')
        if any(map(is_extra, results)) and all(
            result['format'] != evaluate.FORMAT or is_extra(result) for result in results
        ):
            raise ConfigError(
                '--json: an evaluation without --tracker-noise and --neighbours must be among them'
            )
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    if options.dry_run:
        for path, result in zip(options.json, results, strict=True):
            print(f'{path}: {result["format"]}, {len(result["rows"])} rows')
        return 0
    write_page(results, options.out, provenance.command_line('training report results', words))
    print(f'written: {options.out}')
    return 0
