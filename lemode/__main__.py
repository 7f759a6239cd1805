"""``python -m lemode``, the same as the command ``lemode``."""

from .cli import main

raise SystemExit(main())
