# SPDX-License-Identifier: Apache-2.0
"""The notebook was run whole, without an error, and is small."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOK = ROOT / 'docs' / 'notebook' / 'from_bag_to_model.ipynb'


def test_the_notebook_holds_the_outputs_of_one_whole_run() -> None:
    cells = [
        cell for cell in json.loads(NOTEBOOK.read_text())['cells'] if cell['cell_type'] == 'code'
    ]
    assert [cell['execution_count'] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell['outputs']]
    assert {output['output_type'] for output in outputs} == {'stream'}
    assert NOTEBOOK.stat().st_size < 100_000


def test_its_programs_are_there() -> None:
    text = ''.join(
        line for cell in json.loads(NOTEBOOK.read_text())['cells'] for line in cell['source']
    )
    for module in ('tools/demo/camera_bag.py', 'training/__main__.py'):
        assert module.removesuffix('.py').removesuffix('/__main__').replace('/', '.') in text
        assert (ROOT / module).is_file()
