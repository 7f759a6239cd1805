"""Sphinx configuration. ``make docs`` builds everything; ``make docs-quick`` leaves the galleries' scripts unexecuted."""

import os
import sys
from pathlib import Path

from sphinx.application import Sphinx

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE / "_ext"), str(ROOT)]

from api_pages import write_api_pages  # noqa: E402
from generated import write_generated  # noqa: E402

import lemode  # noqa: E402

write_api_pages(HERE / "api")
write_generated(HERE / "_generated")

project = "lemode"
author = "The lemode developers"
copyright = "The lemode developers, MIT licence"
version = release = lemode.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
    "sphinx_copybutton",
    "sphinx_design",
    "matplotlib.sphinxext.plot_directive",
    "statements",
]
exclude_patterns = ["_build", "_ext", "_generated", "README.md", "auto_*/**/*.ipynb", "auto_*/**/*.py"]
default_role = "py:obj"
nitpicky = True
# names of other libraries: there is no inventory of theirs without a network
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(enum|torch|numpy|np|scipy|matplotlib|nn|collections|typing|os|pathlib|dataclasses|types|sympy|argparse|ctypes|torchdiffeq|sklearn|dysts|pandas|xarray)(\..*)?",
    ),
    (r"py:class", r"lemode\.sequence\.\w+"),  # what the layers share has no page
    (r"py:.*", r"(Tensor|Array|ArrayLike|NDArray|Axes|State|Any|Callable|Sequence|Iterator|PackedSequence|optional|Figure)"),
]

# -- reference
autodoc_typehints = "none"  # types, shapes and units are in the docstrings
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": False}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True

# -- text
myst_enable_extensions = ["amsmath", "dollarmath", "deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
bibtex_bibfiles = ["refs.bib"]
bibtex_default_style = "unsrt"
# config.cache: functions in sphinx_gallery_conf; duplicate_filename: examples/ and theory/ both have gradient_bounds.py, and
# every link here names the folder
suppress_warnings = ["config.cache", "sphinx_gallery.duplicate_filename"]

# -- figures drawn by code while the pages are built
plot_html_show_source_link = True
plot_html_show_formats = False
plot_formats = [("png", 144)]
plot_include_source = False
plot_basedir = str(HERE)
plot_rcparams = {"figure.constrained_layout.use": True, "font.size": 9}
plot_apply_rcparams = True


# -- galleries: the scripts as they are, in their short form where it shows what the long one shows
class QuickArguments:
    """What the scripts get instead of Sphinx's own arguments."""

    def __call__(self, gallery_conf, script_vars):
        script = Path(script_vars["src_file"])
        if script.parent.name == "theory":
            return []
        code, out = script.read_text(), HERE / "_build" / "out" / script.stem  # not beside the sources
        given = {"--quick": [], "--quiet": [], "--out": [str(out)]}
        return [word for option, value in given.items() if f'"{option}"' in code for word in (option, *value)]

    def __repr__(self):
        return "QuickArguments()"


def _from_one_state(gallery_conf, fname):
    """Before every script: random numbers start from one seed."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)


sphinx_gallery_conf = {
    "examples_dirs": ["../examples", "../theory"],
    "gallery_dirs": ["auto_examples", "auto_theory"],
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"__(main|init)__\.py|_helpers?\.py",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "parallel": 2,
    "reset_argv": QuickArguments(),
    "reset_modules": ("matplotlib", _from_one_state),
    "doc_module": ("lemode",),
    "reference_url": {"lemode": None},
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1,
    "plot_gallery": "True",
    "default_thumb_file": str(HERE / "images" / "unit_cube.png"),  # drawn by docs/figures/unit_cube.py
}

# -- site
html_theme = "furo"
html_title = "lemode"
html_static_path = ["_static"]
html_css_files = ["lemode.css"]
html_copy_source = False
html_show_sphinx = False
# no preload of fonts or scripts from elsewhere: the site works without a network
mathjax3_config = {"tex": {"macros": {}}, "options": {"enableMenu": False}}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app: Sphinx) -> None:
    """Pages are read by two processes: one extension does not say that it bears that, and it only names a folder of scripts."""
    app.extensions["sphinx-mathjax-offline"].parallel_read_safe = True
