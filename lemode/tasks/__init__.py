"""Tasks for sequence models, each with a fixed split, its source and its licence; nothing is downloaded.

`adding` and `copy_memory` are drawn; `digits` come with scikit-learn, `python_topics` with Python, some sets of `archive` with aeon or
sktime; `mnist`, `cifar10`, `speech_commands`, the rest of `archive` and `treebank` read the files that a user has.
"""

from .base import Part, Task
from .images import cifar10, digits, mnist
from .speech import speech_commands
from .synthetic import adding, copy_memory
from .text import python_topics, treebank
from .ts_files import archive

__all__ = [
    "Part",
    "Task",
    "adding",
    "archive",
    "cifar10",
    "copy_memory",
    "digits",
    "mnist",
    "python_topics",
    "speech_commands",
    "treebank",
]
