"""Sphinx's configuration; the sources are assembled by build.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from cartalg import __version__

project = "cartalg"
copyright = "the cartalg developers, MIT licence"
release = __version__
extensions = ["myst_parser", "mathematics"]
myst_enable_extensions = ["dollarmath", "colon_fence", "fieldlist"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "cartalg"
html_static_path = ["static"]
html_css_files = ["style.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_search_summary = False  # they are fetched, which a browser refuses for files
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
pygments_style = "tango"
pygments_dark_style = "github-dark"
highlight_language = "text"
toc_object_entries_show_parents = "hide"
add_module_names = False
python_maximum_signature_line_length = 100
suppress_warnings = ["myst.domains", "ref.python"]
