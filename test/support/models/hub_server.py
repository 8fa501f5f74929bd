# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the Hugging Face Hub on this machine: repositories of small files in memory."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import re
import threading
from typing import Any

COMMIT = 'c' * 40


class Hub(ThreadingHTTPServer):
    """The server and its repositories."""

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.address = f'http://127.0.0.1:{self.server_port}'


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = 'HTTP/1.1'

    def log_message(self, *said: Any) -> None:
        pass

    def answer(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        sent = {'Content-Type': 'application/json', 'X-Repo-Commit': COMMIT, **headers}
        for name, value in {**sent, 'Content-Length': str(len(body))}.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def absent(self, what: str) -> None:
        self.answer(404, b'{"error": "not found"}', X_Error_Code=f'{what}NotFound')

    def do_GET(self) -> None:
        path = self.path.partition('?')[0]
        if found := re.fullmatch(r'/([^/]+/[^/]+)/resolve/[^/]+/(.+)', path):
            files = self.server.repositories.get(found[1])
            if files is None:
                return self.absent('Repo')
            if found[2] not in files:
                return self.absent('Entry')
            body = files[found[2]]
            return self.answer(200, body, ETag=f'"{hashlib.sha1(body).hexdigest()}"')
        found = re.fullmatch(r'/api/models/([^/]+/[^/]+)/tree/[^/]+', path)
        files = self.server.repositories.get(found[1]) if found else None
        if files is None:
            return self.absent('Repo')
        tree = [
            {'type': 'file', 'path': name, 'size': len(body), 'oid': 'a' * 40}
            for name, body in files.items()
        ]
        return self.answer(200, json.dumps(tree).encode())

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        path = self.path.partition('?')[0]
        if path == '/api/validate-yaml':
            return self.answer(200, b'{"errors": [], "warnings": []}')
        if path == '/api/repos/create':
            asked = json.loads(body)
            name = '/'.join(filter(None, [asked.get('organization'), asked['name']]))
            self.server.repositories.setdefault(name, {})
            return self.answer(200, json.dumps({'url': f'{self.server.address}/{name}'}).encode())
        found = re.fullmatch(r'/api/models/([^/]+/[^/]+)/(preupload|commit)/main', path)
        if found is None:
            return self.absent('Repo')
        if found[2] == 'preupload':
            modes = [
                {'path': file['path'], 'uploadMode': 'regular', 'shouldIgnore': False}
                for file in json.loads(body)['files']
            ]
            return self.answer(200, json.dumps({'files': modes}).encode())
        for line in filter(None, body.splitlines()):
            entry = json.loads(line)
            if entry['key'] == 'file':
                value = entry['value']
                content = base64.b64decode(value['content'])
                self.server.repositories[found[1]][value['path']] = content
        told = {
            'commitUrl': f'{self.server.address}/{found[1]}/commit/{COMMIT}',
            'commitOid': COMMIT,
        }
        return self.answer(200, json.dumps(told).encode())


@contextmanager
def hub_server() -> Iterator[tuple[str, dict[str, dict[str, bytes]]]]:
    """Yield its address, and the files by name of each repository."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.address, server.repositories
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
