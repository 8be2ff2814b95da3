"""The READMEs and their examples in Python."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATHS = [ROOT / "README.rst", *sorted((ROOT / "qvq_wrapper").rglob("*.rst"))]
READMES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PATHS}


def examples(name):
    """Return the Python blocks of a README, without their indentation."""
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", READMES[name], re.M)
    return [re.sub("^    ", "", block, flags=re.M) for block in blocks]
