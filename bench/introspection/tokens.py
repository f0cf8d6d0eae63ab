"""tokens.py BASE COUNT: prints as many access tokens, each of another agent."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from client import Connection  # noqa: E402

connection = Connection(sys.argv[1])
for _ in range(int(sys.argv[2])):
    _, client_id, client_secret = connection.agent()
    status, body, _ = connection.exchange(connection.token_request(client_id, client_secret))
    assert status == 200, body
    print(json.loads(body)["access_token"])
