# SPDX-License-Identifier: Apache-2.0
"""Put weights into a repository of the Hugging Face Hub, or get them from one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
import sys
from typing import Any

from motion_predictor.common.files import brief
from motion_predictor.errors import MotionPredictorError, WeightsError
from motion_predictor.model.weights import default_weights, load_weights

SUFFIX = '.safetensors'
EXTRA = "pip install 'motion-predictor[hub]'"


def push(weights: Path | str, repository: str, *, private: bool = False) -> str:
    """
    Upload a weights file, and its card where it has one, in one commit.

    :param weights: the file, or the name of shipped weights.
    :param repository: OWNER/NAME; it is made if it does not exist.
    :param private: whether a repository that is made is private.
    :returns: the address of the commit.
    :raises WeightsError: if the file cannot be loaded, if huggingface_hub is absent, or if the Hub
        refuses or cannot be reached.
    """
    path = Path(weights) if str(weights).endswith(SUFFIX) else default_weights(str(weights))
    load_weights(path)
    hub = _library()
    card = path.with_suffix('.md')
    files = {path.name: path} | ({'README.md': card} if card.is_file() else {})
    with _refused(f'cannot be pushed to {repository}'):
        api = hub.HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.create_commit(
            repository,
            [hub.CommitOperationAdd(name, str(file)) for name, file in files.items()],
            commit_message=f'motion_predictor weights {path.stem}',
        )
    return str(done.commit_url)


def pull(repository: str, folder: Path, *, name: str = '', revision: str = 'main') -> Path:
    """
    Download a weights file and check that it can be loaded.

    :param repository: OWNER/NAME.
    :param folder: folder for the file; it is made if it does not exist.
    :param name: file to get; empty takes the only one.
    :param revision: branch, tag or commit.
    :returns: the file.
    :raises WeightsError: if there is no such file or are several, if it cannot be loaded, if
        huggingface_hub is absent, or if the Hub refuses or cannot be reached.
    """
    hub = _library()
    with _refused(f'{repository}: cannot be pulled'):
        if not name:
            found = hub.HfApi().list_repo_files(repository, revision=revision)
            names = [file for file in found if file.endswith(SUFFIX)]
            if len(names) != 1:
                listed = ', '.join(names) or 'none'
                raise WeightsError(
                    f'{repository}: name one of its {SUFFIX} files with --file; it has '
                    f'{brief(listed)}'
                )
            name = names[0]
        path = Path(
            hub.hf_hub_download(repository, name, revision=revision, local_dir=str(folder))
        )
    load_weights(path)
    return path


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise WeightsError(f'the Hub needs huggingface_hub, which is absent: {EXTRA}') from None
    return huggingface_hub


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """Turn the library's and the network's errors into one that says what could not be done."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (HfHubHTTPError, OSError, ValueError) as error:
        if isinstance(error, MotionPredictorError):
            raise
        raise WeightsError(f'{what}: {type(error).__name__}: {brief(error)}') from None


def main(words: Sequence[str] | None = None) -> int:
    """
    Run ``motion-predictor weights``.

    :param words: the words after it; this process's own by default.
    :returns: the exit code: 0, or 2 if something cannot be done.
    """
    parser = argparse.ArgumentParser(
        prog='motion-predictor weights',
        description=f'{__doc__} The login is that of huggingface_hub, for example HF_TOKEN.',
    )
    verbs = parser.add_subparsers(dest='verb', required=True)
    pushing = verbs.add_parser('push', help='upload a weights file and its card')
    pushing.add_argument('weights', help='a .safetensors file, or the name of shipped weights')
    pushing.add_argument('repository', help='OWNER/NAME; made if it does not exist')
    pushing.add_argument('--private', action='store_true', help='make it private')
    pulling = verbs.add_parser('pull', help='download a weights file and check it')
    pulling.add_argument('repository', help='OWNER/NAME')
    pulling.add_argument('--file', default='', help=f'which {SUFFIX} file (default: the only one)')
    pulling.add_argument('--revision', default='main', help='branch, tag or commit')
    pulling.add_argument('--to', type=Path, default=Path(), help='folder (default: this one)')
    given = parser.parse_args(words)
    try:
        if given.verb == 'push':
            print(push(given.weights, given.repository, private=given.private))
        else:
            print(pull(given.repository, given.to, name=given.file, revision=given.revision))
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0
