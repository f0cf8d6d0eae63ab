"""asker.py BASE: prints id and secret of a client that may introspect everybody's tokens."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from client import Connection  # noqa: E402

_, client_id, client_secret = Connection(sys.argv[1]).agent(scopes=["tokens:introspect"])
print(client_id, client_secret)
