"""Exit status 0 if a usable PostgreSQL with PostGIS is installed; `--why` prints the reason if not.

Runs before the virtual environment exists: hub.localdb needs nothing but the standard library.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from hub.errors import Refused
from hub.localdb import find_binaries

try:
    find_binaries()
except Refused as reason:
    if "--why" in sys.argv:
        print(reason)
    sys.exit(1)
