# SPDX-License-Identifier: Apache-2.0
"""The options of the tools: read from their words, told by ``--help``."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

pytest.importorskip('rclpy')

TOOLS = {
    'demo.ssm_demo': [], 'fuzz.__main__': [], 'measure.bag_run': [],
    'measure.benchmark_outputs': [], 'measure.crowd': [], 'measure.engines': [],
    'measure.node_latency': [], 'measure.stop_time': [], 'site.build_docs': [],
    'site.draw_outputs': [], 'soak.hour_of_eight': ['--json', 'x.json'],
    'soak.many_people': [], 'soak.soak': [],
}  # fmt: skip
"""Every tool that reads its options by tyro, and the words that it cannot do without."""


@pytest.mark.parametrize('tool, words', TOOLS.items())
def test_a_tool_reads_its_options_and_tells_them(
    tool: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    module = importlib.import_module(f'tools.{tool}')
    read = module.read_options

    class Read(Exception):  # noqa: N818
        """The words of a command were read; nothing was done."""

    def only_read(*given: Any, **named: Any) -> None:
        raise Read(read(*given, **named))

    monkeypatch.setattr(module, 'read_options', only_read)
    monkeypatch.setattr('sys.argv', ['tool', *words])
    with pytest.raises(Read) as found:
        module.main()
    assert isinstance(found.value.args[0], module.Options)
    monkeypatch.setattr('sys.argv', ['tool', '--help'])
    with pytest.raises(SystemExit, match='0'):
        module.main()
    assert 'python -m tools.' in capsys.readouterr().out


def test_a_kind_of_input_that_nobody_decodes_is_refused(capsys: Any) -> None:
    from tools.fuzz.__main__ import main

    with pytest.raises(SystemExit, match='2'):
        main(['--kinds', 'video'])
    assert '--kinds video: must be of ' in capsys.readouterr().err
