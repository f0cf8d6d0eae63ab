"""PyJWT with its `PyJWKClient`: a resource server that knows the issuer's key set and nothing else."""

import os

import jwt
from jwt import PyJWKClient

BASE = os.environ["BASE"]
TOKEN = os.environ["TOKEN"]
ALGORITHM = os.environ["ALGORITHM"]
CLIENT_ID = os.environ["CLIENT_ID"]

keys = PyJWKClient(f"{BASE}/.well-known/jwks.json")
key = keys.get_signing_key_from_jwt(TOKEN)


def decoded(audience="machineauth-api", issuer=BASE):
    return jwt.decode(
        TOKEN,
        key,
        algorithms=[ALGORITHM],
        audience=audience,
        issuer=issuer,
        options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]},
    )


claims = decoded()
assert claims["sub"] == CLIENT_ID, claims
assert claims["scope"] == ["read"], claims

for wrong in ({"audience": "another"}, {"issuer": f"{BASE}/"}):
    try:
        decoded(**wrong)
    except jwt.InvalidTokenError:
        pass
    else:
        raise AssertionError(f"{wrong} is noticed")
