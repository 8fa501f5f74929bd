# SPDX-License-Identifier: Apache-2.0
"""Follow every link of a built site that leads to one of its own files or anchors."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {'a': 'href', 'link': 'href', 'img': 'src', 'script': 'src', 'object': 'data'}
"""Elements, and the attribute of each that names a file."""
OTHERS = ('http:', 'https:', 'mailto:', 'data:', 'javascript:')


class _Page(HTMLParser):
    """The anchors of a page and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element's anchor and where it leads."""
        found = {name: value for name, value in attrs if value}
        self.anchors |= {found[name] for name in ('id', 'name') if name in found}
        target = found.get(LINKS.get(tag, ''))
        if target:
            self.links.append((tag, target))


def broken_links(site: Path) -> list[str]:
    """
    Return what leads nowhere, or to another host where the page itself would load it.

    Links that a reader follows to other hosts are not followed: that takes a network.

    :param site: folder of HTML files.
    :returns: a line for each, with the page and the target.
    """
    pages = {path: _Page(path.read_text()) for path in sorted(site.rglob('*.html'))}
    found = []
    for path, page in pages.items():
        for tag, link in page.links:
            said = f'{path.relative_to(site)}: {link}'
            if link.startswith((*OTHERS, '//')):
                if tag != 'a' and not link.startswith('data:'):
                    found.append(f'{said}: is loaded from another host')
                continue
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f'{said}: no such file')
                continue
            anchor = unquote(parts.fragment)
            if anchor and target in pages and anchor not in pages[target].anchors:
                found.append(f'{said}: no such anchor')
    return found
