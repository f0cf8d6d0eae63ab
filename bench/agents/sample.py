"""sample.py BASE COUNT: creates as many agents, and prints the id and the secret of each."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from client import Connection  # noqa: E402

connection = Connection(sys.argv[1])
for _ in range(int(sys.argv[2])):
    _, client_id, client_secret = connection.agent()
    print(client_id, client_secret)
