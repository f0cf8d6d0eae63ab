"""The `standardwebhooks` package: a receiver that knows its secret and nothing else."""

from datetime import datetime

from receiving import Receiver, call, make_an_agent, webhook
from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def is_refused(verifier, body, headers):
    try:
        verifier.verify(body, headers)
    except WebhookVerificationError:
        return True
    return False


receiver = Receiver()
webhook_id, secret = webhook(receiver.url)
verifier = Webhook(secret)

agent = make_an_agent()
headers, body = receiver.next()
event = verifier.verify(body, headers)
assert event["event"] == "agent.created" and event["agent_id"] == agent, event
assert headers["webhook-id"] == headers["x-webhook-delivery"], headers
assert datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00"))

assert is_refused(verifier, body.replace(b"agent.created", b"agent.deleted"), headers)
another = Webhook("whsec_" + "A" * 44)
assert is_refused(another, body, headers)
for shift in (-301, 301):
    moved = dict(headers)
    moved["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + shift)
    assert is_refused(verifier, body, moved), "a delivery is not to be replayed"

# While both live, either verifies.
rotated = Webhook(call(f"/api/webhooks/{webhook_id}/rotate-secret", {"grace": 600})["secret"])
make_an_agent()
headers, body = receiver.next()
verifier.verify(body, headers)
rotated.verify(body, headers)
