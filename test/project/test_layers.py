# SPDX-License-Identifier: Apache-2.0
"""The direction of dependencies, read from the sources: rooms, and who may enter which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROS = {
    'ament_index_python', 'builtin_interfaces', 'diagnostic_msgs', 'geometry_msgs', 'launch',
    'launch_ros', 'lifecycle_msgs', 'nav_msgs', 'rcl_interfaces', 'rclpy', 'rosgraph_msgs',
    'sensor_msgs', 'std_msgs', 'std_srvs', 'tf2_msgs', 'tf2_ros', 'trajectory_msgs',
    'visualization_msgs',
}  # fmt: skip
GROUND = {'errors', 'moved', 'signals', 'common', 'bundle'}
MAY_ENTER = {
    'motion_predictor': {
        'errors': set(),
        'moved': set(),
        'bundle': set(),
        'commands': GROUND,
        'signals': set(),
        'common': {'errors'},
        'body': GROUND,
        'sources': GROUND | {'body'},
        'without_torch': GROUND | {'body'},
        'model': GROUND | {'body'},
        'track': GROUND | {'body', 'sources', 'model'},
        'predict': GROUND | {'body', 'sources', 'model', 'track', 'without_torch'},
        'recordings': GROUND | {'body', 'sources', 'track'},
        'ros': GROUND | {'body', 'sources', 'model', 'track', 'predict', 'recordings'},
        '__init__': GROUND | {'body', 'model', 'predict'},
        '__main__': GROUND | {'ros', 'commands'},
    },
    'training': {
        'common': set(),
        'data': {'common'},
        'engine': {'common', 'data'},
        'judge': {'common', 'data', 'engine'},
        'stages': {'common', 'data', 'engine', 'judge'},
        'report': {'common', 'data', 'engine', 'judge', 'stages'},
        '__init__': set(),
        '__main__': {'common', 'data', 'engine', 'judge', 'stages', 'report'},
    },
}
"""For each room of a package, the others of that package that it may import."""
PACKAGES = {
    'motion_predictor': set(),
    'training': {'motion_predictor'},
    'studies': {'motion_predictor', 'training'},
    'tools': {'motion_predictor', 'training'},
}
"""For each package, the others that it may import."""
MAY_ENTER_INSIDE = {
    'track/slips': set(),
    'track/checks': set(),
    'track/identity': {'history', 'limits', 'slips', 'states'},
    'predict/futures': set(),
    'predict/place': {'awaited', 'futures', 'moments', 'prediction'},
    'predict/place/memory': {'candidates'},
}
"""For each room inside a room, the modules and rooms beside it that it may import."""
STRANGERS = {
    'node': {'replay', 'consumers'},
    'worker': {'node', 'replay', 'memory', 'loading', 'consumers'},
    'diagnostics': {'node', 'replay', 'memory', 'loading', 'consumers'},
    'intake': {'node', 'replay', 'worker', 'publish', 'memory', 'loading', 'consumers'},
    'publish': {'node', 'replay', 'worker', 'intake', 'memory', 'loading', 'consumers'},
    'memory': {
        'node', 'replay', 'worker', 'publish', 'intake', 'session', 'diagnostics', 'consumers',
    },
    'parameters': {
        'node', 'replay', 'worker', 'publish', 'intake', 'memory', 'session', 'diagnostics',
        'messages', 'budget', 'loading', 'pace', 'consumers',
    },
    'consumers': {
        'node', 'replay', 'worker', 'publish', 'memory', 'loading', 'session', 'diagnostics',
    },
    'others': {'node', 'replay', 'worker', 'consumers'},
}  # fmt: skip
"""For each part of the node, those that it does not import."""
NO_TORCH = {'common', 'body', 'sources', 'recordings', 'track', 'without_torch'}


def imported(path: Path, typing_too: bool = True) -> Iterator[tuple[str, int]]:
    """Every module that is imported, by its full name, late imports too; and the line."""
    for name, line, for_types in imports_of(path):
        if typing_too or not for_types:
            yield name, line


@cache
def imports_of(path: Path) -> list[tuple[str, int, bool]]:
    """Every imported name, its line, and whether it is imported for types alone."""
    found: list[tuple[str, int, bool]] = []
    for node, for_types in below(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno, for_types) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}:{node.lineno}: a relative import'
            found += [
                (f'{node.module}.{alias.name}', node.lineno, for_types) for alias in node.names
            ]
    return found


def below(node: ast.AST, for_types: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every statement below a node, and whether it stands under ``if TYPE_CHECKING``."""
    checking = isinstance(node, ast.If) and getattr(node.test, 'id', '') == 'TYPE_CHECKING'
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.stmt | ast.excepthandler | ast.match_case):
            yield inner, for_types or checking
            yield from below(inner, for_types or checking)


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob('*.py'))


def room_of(path: Path, package: str) -> str:
    return path.relative_to(ROOT / package).parts[0].removesuffix('.py')


@pytest.mark.parametrize('package', MAY_ENTER)
def test_no_arrow_between_rooms_leads_up(package: str) -> None:
    found = []
    for path in sources(package):
        room = room_of(path, package)
        assert room in MAY_ENTER[package], f'{path}: a room that no rule is for'
        for name, line in imported(path):
            top, _, rest = name.partition('.')
            entered = rest.split('.')[0]
            inside = top == package and entered in MAY_ENTER[package] and entered != room
            if inside and entered not in MAY_ENTER[package][room]:
                found.append(f'{path.relative_to(ROOT)}:{line}: {room} imports {name}')
    assert not found, '\n'.join(found)


@pytest.mark.parametrize('inner', MAY_ENTER_INSIDE)
def test_no_arrow_inside_a_room_leads_up(inner: str) -> None:
    outer, _, room = f'motion_predictor/{inner}'.rpartition('/')
    beside = outer.replace('/', '.') + '.'
    for path in sorted((ROOT / outer / room).glob('*.py')):
        for name, line in imported(path, typing_too=False):
            entered = name.removeprefix(beside).split('.')[0] if name.startswith(beside) else room
            allowed = entered == room or entered in MAY_ENTER_INSIDE[inner]
            assert allowed, f'{path.relative_to(ROOT)}:{line}: {inner} imports {name}'


@pytest.mark.parametrize('package', PACKAGES)
def test_no_arrow_between_packages_leads_up(package: str) -> None:
    banned = {'motion_predictor', 'training', 'studies', 'tools', 'test'}
    banned -= PACKAGES[package] | {package}
    for path in sources(package):
        for name, line in imported(path):
            assert name.split('.')[0] not in banned, f'{path}:{line}: {name}'


def test_ros_is_imported_in_its_room_alone() -> None:
    for package in ('motion_predictor', 'training', 'studies'):
        for path in sources(package):
            if (package, room_of(path, package)) in {
                ('motion_predictor', 'ros'), ('motion_predictor', '__main__'),
            }:  # fmt: skip
                continue
            for name, line in imported(path):
                assert name.split('.')[0] not in ROS, f'{path}:{line}: {name}'
                if package != 'motion_predictor':
                    assert not name.startswith('motion_predictor.ros'), f'{path}:{line}: {name}'


def test_parts_of_the_node_know_only_what_they_need() -> None:
    found = []
    for path in sources('motion_predictor'):
        parts = path.relative_to(ROOT / 'motion_predictor').with_suffix('').parts
        if parts[0] != 'ros':
            continue
        for name, line in imported(path):
            entered = name.removeprefix('motion_predictor.ros.').split('.')[0]
            if name.startswith('motion_predictor.ros.') and entered in STRANGERS.get(
                parts[1], STRANGERS['others']
            ):
                found.append(f'{path.relative_to(ROOT)}:{line}: {name}')
    assert not found, '\n'.join(found)


def test_rooms_of_arithmetic_do_without_torch() -> None:
    for path in sources('motion_predictor'):
        if room_of(path, 'motion_predictor') in NO_TORCH:
            for name, line in imported(path):
                assert name.split('.')[0] != 'torch', f'{path}:{line}: {name}'


@pytest.mark.parametrize('package', PACKAGES)
def test_no_imports_run_in_a_circle(package: str) -> None:
    modules = {
        '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): path
        for path in sources(package)
    }
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        graph[module] = set()
        for name, _ in imported(path, typing_too=False):
            for known in (name, name.rpartition('.')[0]):
                if known in modules and known not in (module, package):
                    graph[module].add(known)
                    break
    list(TopologicalSorter(graph).static_order())
