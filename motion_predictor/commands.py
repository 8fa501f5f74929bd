# SPDX-License-Identifier: Apache-2.0
"""
One command for everything: ``motion-predictor VERB``.

The node and the replay of recordings are part of this package. The demo and all verbs of training
are programs beside it (see :mod:`motion_predictor.bundle`), so they are found by their names when
they are asked for: this package imports neither.
"""

from __future__ import annotations

from collections.abc import Sequence
import importlib
import sys

from motion_predictor.bundle import add_programs

PROGRAM = 'motion-predictor'
OWN = {
    'node': ('motion_predictor.ros.node', 'run the ROS 2 node; its words are those of ros2 run'),
    'replay': ('motion_predictor.ros.replay', 'play a recording on a skeleton topic'),
    'weights': (
        'motion_predictor.model.hub',
        'push weights to the Hugging Face Hub; pull them',
    ),
}
"""Verbs of this package: the module whose ``main`` runs, and its purpose."""
BESIDE = {
    'demo': ('tools.demo.demo', 'play recorded motion into the node, leave a page to look at'),
}
TRAINING = 'training.__main__'
EXTRAS = {
    'rclpy': 'ros', 'rosbags': 'replay', 'rerun': 'view', 'matplotlib': 'training',
    'jinja2': 'training', 'optuna': 'training', 'ruamel': 'training', 'tensorboard': 'training',
    'tqdm': 'training', 'tyro': 'training', 'smplx': 'amass',
}  # fmt: skip
"""Packages that only an extra brings, and the extra."""
ROS_ENDINGS = ('_interfaces', '_msgs')
"""How the names of ROS's packages of messages end; they come with rclpy."""


def main(words: Sequence[str] | None = None) -> int:
    """
    Run the verb that the words begin with.

    :param words: of the command line, without the program; this process's own by default.
    :returns: the exit code: 2 where there is no such verb, or a package that it needs is absent.
    """
    given = list(sys.argv[1:] if words is None else words)
    verb, rest = (given[0], given[1:]) if given else ('', [])
    if verb in ('', '-h', '--help'):
        print(usage())
        return 0 if verb else 2
    if verb == '--version':
        print(f'{PROGRAM} {version()}')
        return 0
    try:
        return run(verb, rest)
    except ModuleNotFoundError as error:
        return _missing(verb, error)


def run(verb: str, rest: list[str]) -> int:
    """
    Run one verb.

    :param rest: the words after it.
    :returns: its exit code.
    :raises ModuleNotFoundError: if a package that only an extra brings is absent.
    """
    if verb in OWN:
        sys.argv = [f'{PROGRAM} {verb}', *rest]  # rclpy reads the words of the process
        if verb == 'node':
            from motion_predictor.signals import leave_at_once_when_asked

            leave_at_once_when_asked()
        return int(importlib.import_module(OWN[verb][0]).main() or 0)
    sys.argv = [PROGRAM, verb, *rest]
    if add_programs() is None:
        print(f'{PROGRAM} {verb}: {_not_here()}', file=sys.stderr)
        return 2
    if verb in BESIDE:
        return int(importlib.import_module(BESIDE[verb][0]).main(rest) or 0)
    training = importlib.import_module(TRAINING)
    known = {name.split()[0] for name in training.VERBS}
    if verb not in known:
        others = ', '.join([*OWN, *BESIDE, *dict.fromkeys(n.split()[0] for n in training.VERBS)])
        print(f'{PROGRAM} {verb}: expected one of: {others}', file=sys.stderr)
        return 2
    verbs = importlib.import_module('training.common.verbs')
    return int(verbs.run('training', training.VERBS, training.ABOUT, [verb, *rest]))


def usage() -> str:
    """Return what ``--help`` prints: every verb and its purpose."""
    lines = {name: purpose for name, (_, purpose) in OWN.items()}
    beside = add_programs() is not None
    if beside:
        lines |= {name: purpose for name, (_, purpose) in BESIDE.items()}
        training = importlib.import_module(TRAINING)
        lines |= {name: verb.purpose for name, verb in training.VERBS.items()}
    width = max(len(name) for name in lines)
    text = [f'usage: {PROGRAM} VERB ...', '', 'Predicts where people will move.', '']
    text += [f'  {name:<{width}}  {purpose}' for name, purpose in lines.items()]
    text += ['', f'{PROGRAM} VERB --help says more of most verbs; --version: the release.']
    if not beside:
        text += [f'Others: {_not_here()}']
    return '\n'.join(text)


def version() -> str:
    """Return the installed release, or that of the source tree."""
    from importlib import metadata

    try:
        return metadata.version('motion_predictor')
    except metadata.PackageNotFoundError:
        return 'unknown: not installed'


def _not_here() -> str:
    return (
        'the demo and the verbs of training are not part of what colcon installs; '
        'pip install motion-predictor[training], or run it from the source tree'
    )


def _missing(verb: str, error: ModuleNotFoundError) -> int:
    """Report which extra has the absent package; raise the error again if none has it."""
    package = (error.name or '').partition('.')[0]
    if package.endswith(ROS_ENDINGS):
        package = 'rclpy'  # whichever package of ROS is imported first
    if package not in EXTRAS:
        raise error
    extra = 'demo' if verb == 'demo' else EXTRAS[package]
    source = 'source a ROS 2, or ' if package == 'rclpy' else ''
    print(
        f'{PROGRAM} {verb}: needs {package}, which is not installed: '
        f"{source}pip install 'motion-predictor[{extra}]'",
        file=sys.stderr,
    )
    return 2


if __name__ == '__main__':
    sys.exit(main())
