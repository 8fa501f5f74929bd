# SPDX-License-Identifier: Apache-2.0
"""Sphinx's settings for the documentation site."""

from __future__ import annotations

from pathlib import Path
import re
import sys

HERE = Path(__file__).resolve().parent
ROOT = next(folder for folder in HERE.parents if (folder / 'package.xml').is_file())
sys.path.insert(0, str(ROOT))

project = 'motion_predictor'
author = 'motion_predictor maintainers'
release = re.findall(r'<version>(.*)</version>', (ROOT / 'package.xml').read_text())[0]
version = release

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx_copybutton', 'sphinx_design']
myst_enable_extensions = ['attrs_block', 'colon_fence']
myst_heading_anchors = 4
# ref.python: a type in a signature, such as `type`, that a field of a record is called too.
suppress_warnings = ['myst.header', 'misc.highlighting_failure', 'ref.python']
exclude_patterns = ['files/**']

autodoc_default_options = {'members': True, 'show-inheritance': True}
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_preserve_defaults = True
autodoc_mock_imports: list[str] = []
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries = False

html_theme = 'furo'
html_title = f'motion_predictor {release}'
html_static_path = ['site.css']
html_css_files = ['site.css']
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_search_summary = False  # it fetches pages, which a browser forbids among files
html_theme_options = {'navigation_with_keys': True}
pygments_style = 'friendly'
pygments_dark_style = 'github-dark'
copybutton_prompt_text = r'\$ |>>> |\.\.\. '
copybutton_prompt_is_regexp = True
