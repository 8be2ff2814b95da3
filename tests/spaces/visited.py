"""The command ``python -m qvq_wrapper.serve`` for tests, with bounds that a test can reach.

``python tests/spaces/visited.py BOUNDS ...`` takes a JSON object, as ``{"MAX_FOLDER": 90000}``, and
then the command's own options. 127.0.0.2 counts as an address of the internet.
"""

import json
import sys

from qvq_wrapper.serve import addresses, picture, uploads
from qvq_wrapper.serve.__main__ import main

bounds = json.loads(sys.argv.pop(1))
for name, value in bounds.items():
    setattr(picture if name == "MAX_DECODED" else uploads, name, value)
is_public = addresses.is_public
addresses.is_public = lambda address: address == "127.0.0.2" or is_public(address)
main()
