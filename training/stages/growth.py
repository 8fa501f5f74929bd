"""
Grow a trained mixer into a larger one that gives the same output: python -m training grow.

Wider and deeper, as Net2Net does: a place to go on training from at that size. The file that is
written holds the smaller mixer and says what it grows into when it is loaded.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
import sys

from motion_predictor.errors import MotionPredictorError
from motion_predictor.model.growth import grown_model
from motion_predictor.model.weights import file_digest, load_weights, save_weights

EXAMPLE = """
example, the size published for Human3.6M, from a small trained mixer:
  python -m training grow --weights mixer.safetensors --width 768 --depth 12 \\
      --out runs/grown/swiftdiff.safetensors
then, as it is shipped (the file holds the smaller mixer, which is grown when it is loaded):
  python -m training export --run runs/grown --only swiftdiff --dtype int8 --out resource/weights
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb."""
    parser = argparse.ArgumentParser(
        prog='python -m training grow',
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--weights', type=Path, required=True, help='a mixer')
    parser.add_argument('--width', type=int, required=True, help='a multiple of its own')
    parser.add_argument('--depth', type=int, required=True, help='its own or more')
    parser.add_argument('--out', type=Path, required=True, help='weights file to write')
    parser.add_argument('--dry-run', action='store_true', help='say what would be done')
    options = parser.parse_args(arguments)
    try:
        loaded = load_weights(options.weights)
        old = loaded.model.config
        size = replace(old.denoiser, width=options.width, depth=options.depth)
        new = replace(old, denoiser=size)
        what = f'{old.denoiser.depth} x {old.denoiser.width} to {size.depth} x {size.width}'
        if options.dry_run:
            print(f'would grow {options.weights} from {what}')
            return
        model = grown_model(loaded.model, new)
        card = {
            **loaded.card,
            'what': f'SwiftDiff grown from {what} (Net2Net), not trained at that size: it gives '
            'the futures of the smaller one, and is a place to begin training from',
            'grown_from': file_digest(options.weights),
        }
        card.pop('scores', None)
        save_weights(options.out, model, card, stored=loaded.model)
    except MotionPredictorError as error:
        sys.exit(f'training grow: {error}')
    print(f'wrote {options.out}: {what}')
