# SPDX-License-Identifier: Apache-2.0
"""The parts of a weights file, and files with other parts."""

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
import torch


def parts_of(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(str(path), framework='pt') as file:
        names: list[str] = file.keys()
        return {name: file.get_tensor(name) for name in names}, dict(file.metadata())


def changed(path: Path, **metadata_changes: str | None) -> Path:
    tensors, metadata = parts_of(path)
    for name, value in metadata_changes.items():
        if value is None:
            del metadata[name]
        else:
            metadata[name] = value
    save_file(tensors, path, metadata=metadata)
    return path
