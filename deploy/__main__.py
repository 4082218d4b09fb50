"""``python -m deploy`` in a checkout, ``python -m paragonsr`` and ``paragonsr`` once installed.

``python FOLDER/deploy`` is for a Python that finds no modules in the current folder, as the embedded one of ComfyUI's
portable edition.
"""

import sys

if __package__:
    from .cli import main
else:
    from importlib import import_module
    from pathlib import Path

    _folder = Path(__file__).resolve().parent
    sys.path[0] = str(_folder.parent)
    main = import_module(f"{_folder.name}.cli").main

if __name__ == "__main__":
    sys.exit(main())
