"""Write what the sources know into the README: python -m scripts.update_readme."""

from __future__ import annotations

from pathlib import Path
import re
import sys

from motion_predictor import parameters
from motion_predictor.layouts import LAYOUTS

README = Path(__file__).resolve().parent.parent / 'README.md'


def replay_rows() -> str:
    """Rows of the table of the replay node's parameters."""
    from motion_predictor.replay import PARAMETERS

    rows = ['| parameter of `replay` | default | meaning |', '|---|---|---|']
    for name, (default, description) in PARAMETERS.items():
        shown = str(default).lower() if isinstance(default, bool) else repr(default)
        rows.append(f'| `{name}` | `{shown}` | {description} |')
    return '\n'.join(rows)


def updated(text: str) -> str:
    """
    Fill in the parts between ``<!-- name -->`` and ``<!-- /name -->``.

    :param text: of the README.
    :raises ValueError: if a part has lost its marks.
    """
    skeletons = ', '.join(f'`{name}`' for name in LAYOUTS)
    parts = {
        'replay parameters': f'\n{replay_rows()}\n',
        'skeletons': skeletons,
        'parameters': f'\n{parameters.markdown_table().strip()}\n',
    }
    for name, content in parts.items():
        found = list(re.finditer(f'<!-- {name} -->(.*?)<!-- /{name} -->', text, re.DOTALL))
        if len(found) != 1:
            raise ValueError(f'README: expected <!-- {name} --> ... <!-- /{name} --> once')
        text = text[: found[0].start(1)] + content + text[found[0].end(1) :]
    return text


def main() -> int:
    """Update the README; with --check only say whether it is up to date."""
    before = README.read_text()
    after = updated(before)
    if '--check' in sys.argv[1:]:
        return int(before != after)
    README.write_text(after)
    return 0


if __name__ == '__main__':
    sys.exit(main())
