"""requests-oauthlib: the backend application flow, with the secret in HTTP Basic and in the body."""

import os

from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

BASE = os.environ["BASE"]
CLIENT_ID = os.environ["CLIENT_ID"]
CLIENT_SECRET = os.environ["CLIENT_SECRET"]
TOKEN_URL = f"{BASE}/oauth/token"
# The library insists on https unless told that this is a test.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

IN_BASIC = {"auth": HTTPBasicAuth(CLIENT_ID, CLIENT_SECRET)}
IN_THE_BODY = {"client_secret": CLIENT_SECRET, "include_client_id": True}


def session(scope):
    return OAuth2Session(client=BackendApplicationClient(client_id=CLIENT_ID, scope=scope), scope=scope)


for authentication in (IN_BASIC, IN_THE_BODY):
    # It raises a warning as an error when the granted scope is not the requested one.
    oauth = session(["write", "read"])
    token = oauth.fetch_token(TOKEN_URL, **authentication)
    assert token["token_type"] == "Bearer", token
    assert token["scope"] == ["write", "read"] and not token.scope_changed
    me = oauth.get(f"{BASE}/api/agents/me").json()
    assert me["agent"]["client_id"] == CLIENT_ID, me

    refreshed = oauth.refresh_token(TOKEN_URL, refresh_token=token["refresh_token"], **IN_BASIC)
    assert refreshed["access_token"] != token["access_token"]
    assert oauth.get(f"{BASE}/api/agents/me").status_code == 200

# More than the client has: what can be granted is, and the library says that it is less.
try:
    session(["read", "admin"]).fetch_token(TOKEN_URL, **IN_BASIC)
except Warning as narrowed:
    assert narrowed.new_scope == ["read"], narrowed.new_scope
else:
    raise AssertionError("the library compares scopes")

try:
    session(["read"]).fetch_token(TOKEN_URL, auth=HTTPBasicAuth(CLIENT_ID, "wrong"))
except OAuth2Error as refused:
    assert refused.error == "invalid_client", refused
    assert refused.description == "invalid client credentials", refused
else:
    raise AssertionError("a wrong secret is refused")
