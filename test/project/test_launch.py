# SPDX-License-Identifier: Apache-2.0
"""The launch files and what a build installs, as far as that goes without the launch packages."""

from __future__ import annotations

import configparser
import importlib.util
import json
from pathlib import Path
import re
import runpy
import subprocess
import sys
import types
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = sorted((ROOT / 'launch').glob('*.launch.py'))

SETUP_FACTS = """
import json, setuptools
from distutils.core import run_setup
made = run_setup('setup.py', stop_after='init')
print(json.dumps({
    'name': made.get_name(), 'version': made.get_version(), 'packages': made.packages,
    'data_files': [[str(folder), list(files)] for folder, files in made.data_files],
    'entry_points': made.entry_points, 'extras': sorted(made.extras_require),
    'email': made.get_maintainer_email(), 'license': made.get_license(),
}))
"""


class Made:
    """Stands in for every class of the launch packages: remembers how it was made."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.kind, self.args, self.options = type(self).__name__, args, options

    def perform(self, context: Any) -> str:
        return str(context[self.args[0]])


class Context(dict):  # type: ignore[type-arg]
    """Launch configurations by name."""

    is_shutdown = False


def installed(package: str) -> str:
    """Stand in for the index of packages: none is installed."""
    raise LookupError(package)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put stand-ins in place of launch, launch_ros and lifecycle_msgs."""
    provided = {
        'launch': ['LaunchDescription', 'LaunchDescriptionEntity'],
        'launch.actions': [
            'DeclareLaunchArgument', 'EmitEvent', 'IncludeLaunchDescription', 'LogInfo',
            'OpaqueFunction', 'RegisterEventHandler', 'Shutdown',
        ],
        'launch.conditions': ['IfCondition'],
        'launch.event_handlers': ['OnProcessStart'],
        'launch.events': ['matches_action'],
        'launch.launch_context': ['LaunchContext'],
        'launch.launch_description_sources': ['PythonLaunchDescriptionSource'],
        'launch.substitutions': ['LaunchConfiguration'],
        'launch_ros': [],
        'launch_ros.actions': ['LifecycleNode', 'Node'],
        'launch_ros.event_handlers': ['OnStateTransition'],
        'launch_ros.events': [],
        'launch_ros.events.lifecycle': ['ChangeState'],
        'launch_ros.parameter_descriptions': ['ParameterValue'],
        'lifecycle_msgs': [],
    }  # fmt: skip
    for name, contents in provided.items():
        module = types.ModuleType(name)
        for content in contents:
            setattr(module, content, type(content, (Made,), {}))
        monkeypatch.setitem(sys.modules, name, module)
    index = types.ModuleType('ament_index_python.packages')
    index.get_package_prefix = installed  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'ament_index_python', types.ModuleType('ament_index_python'))
    monkeypatch.setitem(sys.modules, index.__name__, index)
    messages = types.ModuleType('lifecycle_msgs.msg')
    messages.Transition = types.SimpleNamespace(  # type: ignore[attr-defined]
        TRANSITION_CONFIGURE=1, TRANSITION_ACTIVATE=3
    )
    monkeypatch.setitem(sys.modules, 'lifecycle_msgs.msg', messages)


def described(name: str) -> tuple[dict[str, Any], list[Made]]:
    """Run a launch file: its globals, and what it describes."""
    contents = runpy.run_path(str(ROOT / 'launch' / name))
    return contents, contents['generate_launch_description']().args[0]


def arguments(entities: list[Made]) -> dict[str, str]:
    declared = [entity for entity in entities if entity.kind == 'DeclareLaunchArgument']
    assert all(entity.options['description'] for entity in declared)
    return {entity.args[0]: entity.options['default_value'] for entity in declared}


@pytest.mark.parametrize('path', LAUNCH, ids=lambda path: path.name)
def test_a_launch_file_compiles(path: Path) -> None:
    compile(path.read_text(), str(path), 'exec')


@pytest.mark.usefixtures('stand_ins')
def test_the_predictor_is_configured_when_started_and_activated_once() -> None:
    contents, entities = described('predictor.launch.py')
    defaults = arguments(entities)
    assert defaults.keys() == {
        'config', 'namespace', 'autostart', 'rviz', 'use_sim_time', 'weights',
    }  # fmt: skip
    assert Path(defaults['config']).is_file()
    assert (defaults['autostart'], defaults['rviz']) == ('true', 'false')
    context = Context(defaults, namespace='cell', weights='mine.safetensors')
    *handlers, node = contents['predictor_actions'](context)
    assert node.options['namespace'] == 'cell'
    assert (node.options['package'], node.options['executable']) == (
        'motion_predictor', 'predictor',
    )  # fmt: skip
    assert node.options['parameters'][0] == defaults['config']
    assert node.options['parameters'][-1]['model.path'].args[0] == 'mine.safetensors'
    configure, configured = (handler.args[0] for handler in handlers)
    assert configure.kind == 'OnProcessStart'
    assert transition_of(configure.options['on_start']) == 1
    # else the node would be activated again whenever somebody deactivates it
    assert configured.options['start_state'] == 'configuring'
    assert configured.options['handle_once'], 'a manual configure activates'
    (answer,) = configured.options['entities']
    assert transition_of(answer.options['function'](after('inactive'))) == 3
    (told,) = answer.options['function'](after('unconfigured'))
    assert told.kind == 'LogInfo'
    (alone,) = contents['predictor_actions'](Context(context, autostart='false', weights=''))
    assert alone.kind == 'LifecycleNode'


def after(goal_state: str) -> Any:
    """Make the context of an event handler."""
    event = types.SimpleNamespace(goal_state=goal_state)
    return types.SimpleNamespace(locals=types.SimpleNamespace(event=event))


def transition_of(entities: list[Made]) -> int:
    (emit,) = entities
    transition: int = emit.options['event'].options['transition_id']
    return transition


@pytest.mark.usefixtures('stand_ins')
@pytest.mark.parametrize(
    'given, told',
    [
        ({'config': 'no.yaml'}, 'config:=no.yaml: there is no such file'),
        ({'weights': 'no.safetensors'}, 'weights:=no.safetensors: there is no such file'),
        ({'rviz': 'true'}, 'rviz:=true: rviz2 is not installed'),
    ],
)
def test_what_does_not_exist_is_named_before_anything_starts(
    given: dict[str, str], told: str
) -> None:
    contents, entities = described('predictor.launch.py')
    functions = [e.options['function'] for e in entities if e.kind == 'OpaqueFunction']
    assert functions[0] is contents['check_arguments'], 'something is started before'
    assert contents['check_arguments'](Context(arguments(entities))) == []
    with pytest.raises(RuntimeError, match=re.escape(told)):
        contents['check_arguments'](Context(arguments(entities), **given))


@pytest.mark.usefixtures('stand_ins')
def test_truths_are_true_or_false() -> None:
    for path in LAUNCH:
        _, entities = described(path.name)
        for entity in entities:
            if entity.options.get('default_value') in ('true', 'false'):
                assert entity.options['choices'] == ['true', 'false'], entity.args[0]


@pytest.mark.usefixtures('stand_ins')
def test_consumers_are_started_by_name() -> None:
    contents, entities = described('consumers.launch.py')
    defaults = arguments(entities)
    yaml = pytest.importorskip('ruamel.yaml')
    config = yaml.YAML(typ='safe').load(ROOT / 'config' / 'consumers.yaml')
    nodes = contents['consumer_nodes'](
        Context(defaults, start='nav2, ros2_control,moveit2', namespace='cell')
    )
    made = [node.options['name'] for node in nodes if node.kind == 'Node']
    assert len(made) == len(set(made)), 'a node twice'
    assert {f'/**/{name}' for name in made} <= config.keys()
    assert {node.options['namespace'] for node in nodes if node.kind == 'Node'} == {'cell'}
    left_out = [str(node.options['msg']) for node in nodes if node.kind == 'LogInfo']
    assert set(made) | {text.split()[0] for text in left_out} >= {
        'people_costs', 'people_list', 'people_scene', 'speed_and_separation', 'speed_scaling',
        'nav2_speed_limit',
    }  # fmt: skip
    with pytest.raises(RuntimeError, match='start:=nav: must be one or more of nav2, moveit2'):
        contents['consumer_nodes'](Context(defaults, start='nav'))
    with pytest.raises(RuntimeError, match=r'config:=no\.yaml: there is no such file'):
        contents['consumer_nodes'](Context(defaults, config='no.yaml'))


@pytest.mark.usefixtures('stand_ins')
@pytest.mark.parametrize('name', ['nav2', 'moveit2', 'ros2_control', 'speed_and_separation'])
def test_each_consumer_has_a_launch_file(name: str) -> None:
    _, entities = described(f'{name}.launch.py')
    (include,) = entities
    assert Path(include.args[0].args[0]).name == 'consumers.launch.py'
    assert dict(include.options['launch_arguments']) == {'start': name}


@pytest.mark.usefixtures('stand_ins')
def test_a_launch_ends_with_the_node_and_only_once() -> None:
    contents, _ = described('predictor.launch.py')
    context = Context()
    assert [action.kind for action in contents['end_launch'](context)] == ['Shutdown']
    context.is_shutdown = True
    assert contents['end_launch'](context) == []


@pytest.mark.usefixtures('stand_ins')
def test_the_demo_includes_the_predictor_and_replays_to_it() -> None:
    contents, entities = described('demo.launch.py')
    defaults = arguments(entities)
    (include,) = [entity for entity in entities if entity.kind == 'IncludeLaunchDescription']
    assert Path(include.args[0].args[0]).name == 'predictor.launch.py'
    _, predictor = described('predictor.launch.py')
    passed = {name for name, _ in include.options['launch_arguments']}
    assert passed <= arguments(predictor).keys()
    assert passed <= defaults.keys()
    with pytest.raises(RuntimeError, match=r'clip:=walk\.bvh: there is no such file'):
        contents['replay_action'](Context(defaults, clip='walk.bvh'))
    for clip in ('', 'synthetic:2'):
        (node,) = contents['replay_action'](Context(defaults, clip=clip))
        assert node.options['executable'] == 'replay'
        assert node.options['parameters'][0]['path'].args[0]


@pytest.fixture(scope='module')
def facts() -> dict[str, Any]:
    """Return what setup.py tells setuptools."""
    done = subprocess.run(
        [sys.executable, '-c', SETUP_FACTS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_a_build_installs_what_a_robot_needs_and_no_training(facts: dict[str, Any]) -> None:
    assert 'motion_predictor.predict.place' in facts['packages']
    assert {name.partition('.')[0] for name in facts['packages']} == {'motion_predictor'}
    assert 'test' in facts['extras']
    installed = {folder: {Path(file).name for file in files} for folder, files in
                 facts['data_files']}  # fmt: skip
    assert installed['share/ament_index/resource_index/packages'] == {'motion_predictor'}
    share = 'share/motion_predictor'
    assert installed[share] == {'package.xml'}
    assert installed[f'{share}/launch'] == {path.name for path in LAUNCH}
    for folder in ('config', 'config/sros2'):
        files = {path.name for path in (ROOT / folder).iterdir() if path.is_file()}
        assert installed[f'{share}/{folder}'] == files
    weights = ROOT / 'resource' / 'weights'
    assert installed[f'{share}/weights'] == {path.name for path in weights.glob('*')}
    for _, files in facts['data_files']:
        assert all((ROOT / file).is_file() for file in files)


def test_every_executable_exists_and_goes_where_ros_looks(facts: dict[str, Any]) -> None:
    scripts = dict(entry.split(' = ') for entry in facts['entry_points']['console_scripts'])
    assert scripts.keys() == {
        'motion-predictor', 'predictor', 'replay', 'people_costs', 'people_list', 'people_scene',
        'prescyent_bridge', 'speed_and_separation', 'speed_scaling',
    }  # fmt: skip
    for target in scripts.values():
        module, function = target.split(':')
        source = ROOT / (module.replace('.', '/') + '.py')
        assert f'def {function}(' in source.read_text()
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    assert config['develop']['script_dir'] == '$base/lib/motion_predictor'
    assert config['install']['install_scripts'] == '$base/lib/motion_predictor'


def test_the_manifest_agrees_with_setup(facts: dict[str, Any]) -> None:
    manifest = ElementTree.parse(ROOT / 'package.xml').getroot()

    def text(path: str) -> str:
        return str(manifest.findtext(path))

    assert manifest.get('format') == '3'
    assert (text('name'), text('version'), text('license')) == (
        facts['name'], facts['version'], facts['license'],
    )  # fmt: skip
    maintainer = manifest.find('maintainer')
    assert maintainer is not None
    assert maintainer.get('email') == facts['email']
    assert re.fullmatch(r'[^@\s]+@[^@\s]+\.[a-z]+', facts['email'])
    assert text('export/build_type') == 'ament_python'
    sources = ''.join(path.read_text() for path in (ROOT / 'motion_predictor').rglob('*.py'))
    imported = set(re.findall(r'^from (\w+)\.(?:msg|srv) import', sources, re.MULTILINE))
    assert {'geometry_msgs', 'sensor_msgs'} <= imported
    needed = {str(entry.text) for entry in manifest.findall('exec_depend')}
    assert imported <= needed
    assert {'launch_ros', 'python3-scipy', 'python3-torch', 'rviz2'} <= needed
    for_tests = {str(entry.text) for entry in manifest.findall('test_depend')}
    assert {'python3-hypothesis', 'python3-matplotlib', 'python3-tqdm'} <= for_tests


def test_the_transport_profile_enlarges_the_shared_memory() -> None:
    profile = ElementTree.parse(ROOT / 'config' / 'fastdds_large_messages.xml').getroot()
    space = {'dds': 'http://www.eprosima.com'}
    assert profile.findtext('.//dds:segment_size', namespaces=space) == str(16 * 1024 * 1024)
    (participant,) = profile.findall('.//dds:participant', space)
    assert participant.get('is_default_profile') == 'true'


if importlib.util.find_spec('launch_ros') is not None:

    def test_the_real_launch_packages_accept_the_files() -> None:
        from launch import LaunchContext

        for path in LAUNCH:
            contents = runpy.run_path(str(path))
            description = contents['generate_launch_description']()
            assert description.get_launch_arguments()
            if path.name == 'predictor.launch.py':
                context = LaunchContext()
                for argument in description.get_launch_arguments():
                    argument.execute(context)
                assert len(contents['predictor_actions'](context)) == 3
