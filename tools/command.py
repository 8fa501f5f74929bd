# SPDX-License-Identifier: Apache-2.0
"""Common part of the tools' command lines."""

from __future__ import annotations

import argparse


def parser_of(program: str, description: str | None, example: str) -> argparse.ArgumentParser:
    """
    Return a parser whose help shows the module's own text and an example.

    :param program: as it is typed, for example ``python -m tools.fuzz``.
    :param description: the module's docstring; its lines stay as they are.
    :param example: a command line.
    """
    return argparse.ArgumentParser(
        prog=program,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example: {example}',
    )
