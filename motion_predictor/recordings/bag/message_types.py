# SPDX-License-Identifier: Apache-2.0
"""Types of the messages of a bag: as the bag defines them, or as other sources know them."""

from __future__ import annotations

import os
from pathlib import Path
import re
from typing import Any

from motion_predictor.errors import RecordingError

_TYPE_NAME = re.compile(r'^\s*((?:\w+\/)*[A-Z]\w*)\b', re.MULTILINE)


def type_store(path: Path, connection: Any) -> Any:
    """
    Return a type store with the message type of a connection.

    The definition is that of the bag, that of rosbags, or that of an installed package.

    :param path: path of the bag, for messages.
    :param connection: the connection.
    :raises RecordingError: if none of them knows the type.
    """
    from rosbags.interfaces import MessageDefinitionFormat
    from rosbags.typesys import get_types_from_idl, get_types_from_msg, get_typestore, Stores

    kind = connection.msgtype
    definition = connection.msgdef
    store = get_typestore(Stores.EMPTY)
    try:
        if definition.format == MessageDefinitionFormat.MSG:
            store.register(get_types_from_msg(definition.data, kind))
        elif definition.format == MessageDefinitionFormat.IDL:
            separator = '=' * 80 + '\n'
            for part in definition.data.split(separator):
                text = part.split('\n', 1)[1] if part.startswith('IDL: ') else part
                if text.strip():
                    store.register(get_types_from_idl(text))
        if kind in store.fielddefs:
            return store
    except Exception:  # rosbags cannot read the definition: continue as if there were none
        store = get_typestore(Stores.EMPTY)
    usual = get_typestore(Stores.ROS2_HUMBLE)
    if kind in usual.fielddefs:
        return usual
    _register_installed(store, kind)
    if kind in store.fielddefs:
        return store
    raise RecordingError(
        f'{path}: {connection.topic} holds {kind}, which the bag does not define: source the '
        f'workspace that has {kind.split("/")[0]}, or convert the bag to mcap, which does'
    )


def _register_installed(store: Any, kind: str) -> None:
    # Types of message packages in a sourced workspace, with the types that they contain.
    from rosbags.typesys import get_types_from_msg

    found: dict[str, Any] = {}
    waiting = [kind]
    while waiting:
        name = waiting.pop()
        package, _, short = name.partition('/msg/')
        file = next(
            (
                Path(prefix, 'share', package, 'msg', f'{short}.msg')
                for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
                if prefix and Path(prefix, 'share', package, 'msg', f'{short}.msg').is_file()
            ),
            None,
        )
        if file is None or name in found:
            continue
        text = file.read_text(encoding='utf-8', errors='replace')
        found |= get_types_from_msg(text, name)
        for used in _TYPE_NAME.findall(text):
            used = used.replace('/msg/', '/')
            owner, _, last = used.rpartition('/')
            waiting.append(f'{owner or package}/msg/{last}' if used != 'Header' else
                           'std_msgs/msg/Header')  # fmt: skip
    store.register(found)
