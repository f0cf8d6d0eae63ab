"""A receiver written from the reference document, which has no library: the body's HMAC-SHA-256 under the secret."""

import hmac
import json

from receiving import Receiver, make_an_agent, webhook

receiver = Receiver()
_, secret = webhook(receiver.url)
agent = make_an_agent()
headers, body = receiver.next()


def is_authentic(request_body, request_headers):
    expected = hmac.new(secret.encode(), request_body, "sha256").hexdigest()
    actual = request_headers["X-Webhook-Signature"]
    return hmac.compare_digest(expected, actual)


# Names of headers have no case; a dictionary's do.
headers = {name.title(): value for name, value in headers.items()}
assert is_authentic(body, headers), headers
assert not is_authentic(body + b" ", headers)
assert headers["X-Webhook-Signature-256"] == f"sha256={headers['X-Webhook-Signature']}"
assert headers["X-Webhook-Event"] == "agent.created", headers

event = json.loads(body)
documented = {"event", "agent_id", "agent_name", "client_id", "timestamp"}
assert documented <= event.keys(), event
assert event["agent_id"] == agent, event
