# SPDX-License-Identifier: Apache-2.0
"""Forward the module names from before release 0.2: they work in this release, with a warning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import importlib
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
import runpy
import sys
from types import CodeType, ModuleType
import warnings

ROOMS = {
    'model': 'config weights',
    'recordings': 'bvh recording rosbag',
    'ros': 'messages node parameters replay',
}
"""For each room, the modules that moved into it and that others may have imported."""
CUT = {
    'decoded': ('sources.observation',),
    'history': ('track.history', 'track.limits'),
    'layouts': ('body.layout', 'body.layout_table', 'body.layout_file'),
    'skeleton': ('body.skeleton', 'body.skeleton_file'),
    'online': (
        'predict.live',
        'track.people',
        'track.limits',
        'track.messages',
        'track.snapshot',
        'track.window',
        'sources.observation',
    ),
    'outputs': ('ros.publish.outputs', 'ros.publish.outlook', 'ros.publish.summaries'),
    'predictor': ('predict.predictor', 'predict.prediction', 'predict.device'),
    'tf_input': ('sources.tf.people', 'sources.tf.tree'),
    'summaries': ('predict.moments', 'predict.keyframes', 'predict.occupancy'),
}
"""Former modules that others may have imported, with the modules that hold their names now."""
RENAMED = {
    'OnlineLimits': 'PeopleLimits',
    'OnlinePrediction': 'LivePrediction',
    'OnlinePredictor': 'LivePredictor',
}
"""Names in those modules that have changed."""


class Moved(MetaPathFinder, Loader):
    """Finds modules by their former names and imports the modules of the new names."""

    def __init__(
        self,
        names: Mapping[str, str],
        commands: Mapping[str, str],
        cut: Mapping[str, Sequence[str]],
    ) -> None:
        """
        Register former names.

        :param names: former names, each with its new name.
        :param commands: former programs with the words that replace ``python -m OLD`` in the
            warning; the default is ``python -m NEW``.
        :param cut: former modules, each with the modules that hold its names now.
        """
        self.names, self.commands, self.cut = dict(names), dict(commands), dict(cut)
        self._own: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a moved module; see :class:`importlib.abc.MetaPathFinder`."""
        known = fullname in self.names or fullname in self.cut
        return ModuleSpec(fullname, self) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module of the new name; for a module that was cut, one with all names."""
        if spec.name in self.cut:
            parts = self.cut[spec.name]
            warnings.warn(
                f'{spec.name} is now {", ".join(parts)}', DeprecationWarning, stacklevel=2
            )
            whole = ModuleType(spec.name)
            for part in parts:
                vars(whole).update(_public(importlib.import_module(part)))
            known = {old: new for old, new in RENAMED.items() if hasattr(whole, new)}
            vars(whole).update({old: getattr(whole, new) for old, new in known.items()})
            self._own[spec.name] = spec
            return whole
        new = self.names[spec.name]
        warnings.warn(f'{spec.name} is now {new}', DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        self._own[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: importing the new name has already run the module."""
        spec = module.__spec__
        if spec is not None:
            module.__spec__ = self._own.pop(spec.name)

    def get_code(self, fullname: str) -> CodeType:
        """Return the code that ``python -m`` runs under the former name: the new program."""
        return _program.__code__


def _public(module: ModuleType) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if not name.startswith('_')}


def _program() -> None:
    from motion_predictor.moved import run_by_its_new_name

    run_by_its_new_name(globals()['__spec__'])


def run_by_its_new_name(spec: ModuleSpec) -> None:
    """Run the program that replaces a former one, with a warning on standard error."""
    moved = spec.loader
    assert isinstance(moved, Moved)
    program, *words = moved.commands.get(spec.name, moved.names[spec.name]).split()
    print(f'python -m {spec.name} is now python -m {" ".join([program, *words])}', file=sys.stderr)
    sys.argv[1:1] = words
    runpy.run_module(program, run_name='__main__', alter_sys=True)


def keep(
    package: str,
    rooms: Mapping[str, str],
    commands: Mapping[str, str] | None = None,
    cut: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """
    Keep the former names of a package's modules working.

    :param package: the package.
    :param rooms: for each room of this package, the modules that moved into it; ``OLD=NEW`` if the
        name changed.
    :param commands: former programs, with the words after ``python -m`` that run them now.
    :param cut: former modules, each with the modules of this package that hold its names now.
    """
    names = {
        f'{package}.{old}': f'{package}.{room}.{new or old}'
        for room, known in rooms.items()
        for old, _, new in (name.partition('=') for name in known.split())
    }
    parts = {
        f'{package}.{name}': [f'{package}.{module}' for module in modules]
        for name, modules in (cut or {}).items()
    }
    sys.meta_path.append(Moved(names, commands or {}, parts))
