"""Authlib: the secret in HTTP Basic and in the body; refresh, introspection, revocation."""

import os

from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

BASE = os.environ["BASE"]
CLIENT_ID = os.environ["CLIENT_ID"]
CLIENT_SECRET = os.environ["CLIENT_SECRET"]
TOKEN_URL = f"{BASE}/oauth/token"
# As for the other library.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

for method in ("client_secret_basic", "client_secret_post"):
    client = OAuth2Session(
        CLIENT_ID,
        CLIENT_SECRET,
        scope="read",
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
    )
    token = client.fetch_token(TOKEN_URL, grant_type="client_credentials")
    assert token["token_type"] == "Bearer" and token["scope"] == "read", token
    me = client.get(f"{BASE}/api/agents/me").json()
    assert me["agent"]["client_id"] == CLIENT_ID, me

    refreshed = client.refresh_token(TOKEN_URL, refresh_token=token["refresh_token"])
    access = refreshed["access_token"]
    assert access != token["access_token"]

    described = client.introspect_token(f"{BASE}/oauth/introspect", token=access).json()
    assert described["active"] is True and described["client_id"] == CLIENT_ID, described
    revoked = client.revoke_token(f"{BASE}/oauth/revoke", token=access, token_type_hint="access_token")
    assert revoked.status_code == 200, revoked.text
    described = client.introspect_token(f"{BASE}/oauth/introspect", token=access).json()
    assert described["active"] is False, described

try:
    OAuth2Session(CLIENT_ID, "wrong").fetch_token(TOKEN_URL, grant_type="client_credentials")
except OAuthError as refused:
    assert refused.error == "invalid_client", refused
else:
    raise AssertionError("a wrong secret is refused")
