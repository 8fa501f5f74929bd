# SPDX-License-Identifier: Apache-2.0
"""Evaluate a predictor that learns while it runs: python -m training evaluate-streams.

The clips of each file are played, as a tracker would send them, into one node's memory of that
place. Its published future is compared with the clean truth, beside the futures of the model
alone, of damped velocity and of standing still. Nothing is ever shown before it happens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
import multiprocessing
from pathlib import Path
import sys
import time
from typing import Any, Literal

from tqdm import tqdm

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.weights import file_digest
from motion_predictor.predict.device import use_threads
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.place.place import Place as LearntPlace
from training.common import provenance
from training.common.options import about, read_options
from training.common.stopping import NOTHING
from training.data.store import data_digest
from training.data.windows import load_clips
from training.judge.held_out import made_without
from training.judge.hiding import Hidden
from training.judge.neighbours import load_neighbours, TrainingNeighbours
from training.judge.stream.hidden_streams import (
    beside,
    hidden_rows,
    HiddenErrors,
    seen_of_take,
)
from training.judge.stream.many_steps import load_streamed, StreamedPredictor
from training.judge.stream.regimes import regime_takes
from training.judge.stream.stream_scores import CANDIDATES, joined, Scores, StreamScorer
from training.judge.stream.stream_tables import (
    error_row,
    groups,
    joint_row,
    over_laboratories,
    radius_row,
    running,
    summary,
)
from training.judge.stream.streams import (
    GAP_S,
    HORIZONS_S,
    ORDERS,
    SimulatedTracker,
    Stream,
    Take,
    takes_of,
)

FORMAT = 'motion_predictor streams'
VERSION = 1
PLACES = ('file', 'subject')

EXAMPLE = """\
worked examples, from the root of the source tree:
  python -m training evaluate-streams --weights resource/weights/swiftdiff.safetensors \\
    --data ../shared/data/*/val.npz --json streams.json
  python -m training evaluate-streams --weights resource/weights/swiftdiff.safetensors \\
    --data ../shared/data/*/val.npz --noise .01 --rate 15 --order random --json noisy.json
  python -m training evaluate-streams --weights resource/weights/swiftdiff.safetensors \\
    --data ../shared/data/*/val.npz --hidden legs arm --json hidden.json
With --held-out SET=FILE the places of a set are judged with weights that were made without it: a
table that leaves each laboratory out in turn.
"""


@dataclass(frozen=True, kw_only=True)
class EvaluateStreamsOptions:
    """Options of ``evaluate-streams``."""

    weights: Path
    """A one-step model, or a teacher, which learns nothing of a place."""
    held_out: tuple[str, ...] = ()
    """SET=FILE: weights that were trained without a set, for the places of that set."""
    data: tuple[Path, ...]
    """Recordings; each file is a place, its folder is the laboratory."""
    json: Path
    """File for the results."""
    places: Literal['file', 'subject'] = 'file'
    """People of one place: all of a file, or each subject alone."""
    order: Literal['files', 'random'] = 'files'
    """Order of the clips in a place."""
    regimes: bool = False
    """Let people change from one kind of motion to another every 5 to 20 s."""
    memory: Literal['on', 'off'] = 'on'
    """Whether what people did here is remembered."""
    rate: float = 25.0
    """Poses per second."""
    noise: float = 0.0
    """Standard deviation of white noise on every coordinate."""
    wander: float = 0.0
    """Standard deviation of noise that changes within a second."""
    missing: float = 0.0
    """Share of the time during which each joint is unseen."""
    hidden: tuple[Hidden, ...] = ()
    """Play everything once more for each of these parts with it hidden: the errors of the joints
    that are seen, beside the same with all seen."""
    minutes: float | None = None
    """Watch each place no longer than this."""
    every: int = 1
    """Score only the first of every so many predictions; a teacher makes no others."""
    ddim_steps: int = 100
    """Sampling steps of a teacher."""
    neighbours: tuple[Path, ...] = ()
    """Training recordings: also score the futures of their most similar moments."""
    samples: int = 50
    """Samples of the model."""
    seed: int = 0
    """Seed of noise and order."""
    engine: str = 'auto'
    """Engine, as Predictor.load takes it."""
    processes: int = 1
    """Number of places played at once, one core each."""
    quiet: bool = False
    """Show no progress bars."""


@dataclass(frozen=True)
class Place:
    """One file to play, and how; everything that a separate process needs."""

    path: Path
    weights: Path
    laboratory: str
    split: str
    tracker: SimulatedTracker
    order: str
    regimes: bool
    memory: bool
    seed: int
    samples: int
    engine: str
    minutes: float | None
    every: int
    ddim_steps: int
    neighbours: tuple[Path, ...]
    hidden: tuple[Hidden, ...] = ()
    subject: str | None = None
    """The only subject of the place; None: everybody in the file."""

    @property
    def label(self) -> str:
        """Return set and split, for example ``cmu17/test``, and the place's subject."""
        return f'{self.laboratory}/{self.split}{f" {self.subject}" if self.subject else ""}'


@dataclass(frozen=True)
class Played:
    """The result of playing a place."""

    place: Place
    scores: Scores
    joints: tuple[str, ...]
    facts: Mapping[str, Any]
    hidden: tuple[HiddenErrors, ...] = ()


def takes_to_play(place: Place, skeleton: Skeleton) -> tuple[Take, ...]:
    """
    Return the takes of a place.

    :raises RecordingError: if its file cannot be used.
    :raises ConfigError: if its clips are too short for the options.
    """
    clips = load_clips(place.path, skeleton)
    if place.subject is not None:
        clips = tuple(clip for clip in clips if clip.subject == place.subject)
    if place.regimes:
        return regime_takes(clips, skeleton, seed=place.seed)
    return takes_of(clips)


def make_online(predictor: StreamedPredictor, place: Place) -> LivePredictor:
    """Return a node's predictor that has seen nothing yet, configured as its weights file says."""
    learnt, weighing = None, predictor.weighing
    if weighing is not None:
        learnt = LearntPlace(predictor.window, predictor.skeleton, weighing, remember=place.memory)
    return LivePredictor(
        predictor, max_persons=1, samples=place.samples, seed=place.seed, place=learnt
    )


def play(place: Place, quiet: bool = True) -> Played:
    """
    Play one place from its first clip to its last.

    :param place: the place.
    :param quiet: whether to show no progress bar.
    :raises MotionPredictorError: if a file cannot be used.
    """
    use_threads(1)
    begun = time.perf_counter()
    predictor = load_streamed(place.weights, place.engine, place.ddim_steps)
    skeleton = predictor.skeleton
    bank: TrainingNeighbours | None = None
    if place.neighbours:
        judged = [data_digest(place.path)]
        bank = load_neighbours(place.neighbours, predictor.window, skeleton, judged)
    takes = takes_to_play(place, skeleton)
    stream, scorer = _played(place, predictor, takes, bank, None, quiet)
    if not len(scorer):
        raise ConfigError(
            f'--data {place.path}: nobody could be predicted with two seconds to come; '
            f'{dict(stream.not_predicted) or "no clip is longer than 2.5 s"}'
        )
    scores = scorer.scores()
    hidden: list[HiddenErrors] = []
    for part in place.hidden:
        _, partly = _played(place, predictor, takes, None, part, quiet)
        if len(partly):
            hidden.append(beside(part, scores, partly.scores(), skeleton, place.seed))
    facts = {
        'set': place.laboratory,
        'split': place.split,
        'place_of': place.subject,
        'file': provenance.shown_path(place.path),
        'sha256': data_digest(place.path),
        'weights': provenance.shown_path(place.weights),
        'weights_sha256': file_digest(place.weights),
        'weighed': predictor.weighing is not None,
        'takes': len(takes),
        'minutes': round(stream.watched_s / 60.0, 2),
        'subjects': sorted(set(scores.subject.tolist())),
        'predictions': len(scores),
        'on_seams': int(scores.on_seam.sum()),
        'not_predicted': dict(stream.not_predicted),
        'neighbours': None if bank is None else len(bank),
        'wall_s': round(time.perf_counter() - begun, 1),
    }
    return Played(place, scores, skeleton.joints, facts, tuple(hidden))


def _played(
    place: Place,
    predictor: StreamedPredictor,
    takes: Sequence[Take],
    bank: TrainingNeighbours | None,
    hidden: Hidden | None,
    quiet: bool,
) -> tuple[Stream, StreamScorer]:
    # Play the takes into a node that has seen nothing yet, and score its predictions.
    skeleton = predictor.skeleton
    stream = Stream(
        make_online(predictor, place),
        takes,
        place.tracker,
        order=place.order,
        seed=place.seed,
        keep_every=place.every,
        seen=lambda clip: seen_of_take(hidden, skeleton, place.seed, clip),
    )
    scorer = StreamScorer(skeleton, bank)
    label = f'{place.label}, {hidden} hidden' if hidden else place.label
    for moment in tqdm(stream, desc=label, unit='prediction', disable=quiet, leave=False):
        if place.minutes is not None and moment.minutes > place.minutes:
            break
        scorer.add(moment)
    return stream, scorer


def given_places(options: EvaluateStreamsOptions) -> list[Place]:
    """
    Return the places that were named.

    :raises ConfigError: if an option cannot be used.
    """
    held_out = made_without(options.held_out)
    tracker = SimulatedTracker(
        rate_hz=options.rate,
        noise_m=options.noise,
        wander_m=options.wander,
        missing=options.missing,
    )
    places: list[Place] = []
    for path in options.data:
        laboratory = path.resolve().parent.name
        place = Place(
            path=path,
            weights=held_out.get(laboratory, options.weights),
            laboratory=laboratory,
            split=path.stem,
            tracker=tracker,
            order=options.order,
            regimes=options.regimes,
            memory=options.memory == 'on',
            seed=options.seed,
            samples=options.samples,
            engine=options.engine,
            minutes=options.minutes,
            every=options.every,
            ddim_steps=options.ddim_steps,
            neighbours=tuple(options.neighbours),
            hidden=options.hidden,
        )
        if any(
            other.path.stem == path.stem and other.laboratory == laboratory for other in places
        ):
            raise ConfigError(f'--data {path}: a second file for {place.label}; give each once')
        if options.places == 'subject':
            subjects = dict.fromkeys(clip.subject for clip in load_clips(path))
            places += [replace(place, subject=subject) for subject in subjects]
        else:
            places.append(place)
    unused = set(held_out) - {place.laboratory for place in places}
    if unused:
        raise ConfigError(
            f'--held-out {", ".join(sorted(unused))}: no file of it among --data, whose sets are '
            f'{", ".join(sorted({place.laboratory for place in places}))}'
        )
    return places


def evaluate(options: EvaluateStreamsOptions, arguments: Sequence[str]) -> dict[str, Any]:
    """
    Play all places and make the tables.

    :param options: the options.
    :param arguments: the words that were parsed, to be recorded.
    :returns: the results, JSON-able.
    :raises MotionPredictorError: if a file cannot be used.
    """
    places = given_places(options)
    played = _play_all(places, options.processes, options.quiet)
    return {
        **provenance.origin(FORMAT, VERSION, 'training evaluate-streams', arguments),
        'settings': {
            'order': options.order,
            'places': options.places,
            'regimes': options.regimes,
            'memory': options.memory,
            'samples': options.samples,
            'seed': options.seed,
            'minutes': options.minutes,
            'every': options.every,
            'ddim_steps': options.ddim_steps,
            'engine': options.engine,
            'tracker': asdict(places[0].tracker),
            'gap_s': GAP_S,
            'horizons_s': list(HORIZONS_S),
            'candidates': list(CANDIDATES),
        },
        'places': [dict(each.facts) for each in played],
        **tables(played),
    }


def tables(played: Sequence[Played]) -> dict[str, Any]:
    """
    Return all tables of what was played; invented motion counts in none.

    :param played: results of all places.
    """
    of_places = [each.scores.select(~each.scores.on_seam) for each in played]
    laboratories: dict[str, list[Scores]] = {}
    for each, scores in zip(played, of_places, strict=True):
        laboratories.setdefault(each.place.laboratory, []).append(scores)
    hidden: dict[str, list[HiddenErrors]] = {}
    for each in played:
        hidden.setdefault(each.place.laboratory, []).extend(each.hidden)
    grouped = list(groups({name: joined(parts) for name, parts in laboratories.items()}))
    rows = [{'by': by, 'name': name, **error_row(scores)} for by, name, scores in grouped]
    return {
        'rows': rows,
        'over_laboratories': over_laboratories(rows),
        'running': [
            {'name': 'all', **running(of_places)},
            *(
                {'name': each.place.label, **running([scores])}
                for each, scores in zip(played, of_places, strict=True)
            ),
        ],
        'radii': [{'by': by, 'name': name, **radius_row(scores)} for by, name, scores in grouped],
        'joints': [
            {'by': by, 'name': name, 'error_cm': joint_row(scores, played[0].joints)}
            for by, name, scores in grouped
            if by in ('all', 'laboratory')
        ],
        'hidden': hidden_rows(hidden),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the words after ``python -m training evaluate-streams``.
    :returns: the exit code: 0, or 2 if an argument cannot be used.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(
        EvaluateStreamsOptions, 'training evaluate-streams', about(__doc__), EXAMPLE, words
    )
    try:
        _check_options(options)
        result = evaluate(options, words)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(NOTHING, file=sys.stderr)
        return 130
    provenance.write_json(options.json, result)
    print(summary(result))
    print(f'written: {options.json}')
    return 0


def _play_all(places: Sequence[Place], processes: int, quiet: bool) -> list[Played]:
    if processes == 1 or len(places) == 1:
        return [play(place, quiet) for place in places]
    context = multiprocessing.get_context('spawn')  # torch's threads do not survive a fork
    with ProcessPoolExecutor(min(processes, len(places)), context) as pool:
        shown = tqdm(pool.map(play, places), total=len(places), unit='place', disable=quiet)
        return list(shown)


def _check_options(options: EvaluateStreamsOptions) -> None:
    for name in ('samples', 'processes', 'every', 'ddim_steps'):
        if getattr(options, name) < 1:
            flag = name.replace('_', '-')
            raise ConfigError(f'--{flag} {getattr(options, name)}: must be at least 1')
    if options.seed < 0:
        raise ConfigError(f'--seed {options.seed}: must not be negative')
    if options.minutes is not None and not options.minutes > 0.0:
        raise ConfigError(f'--minutes {options.minutes}: must be positive')
    if options.regimes and options.order != ORDERS[0]:
        raise ConfigError('--regimes: are mixed already; leave --order out')
