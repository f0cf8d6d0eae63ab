"""public_key.py JWKS: the first RSA key as a public key in PEM (RFC 5280 §4.1.2.7), which HAProxy reads."""

import base64
import json
import sys
from pathlib import Path


def der(tag, content):
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def integer(text):
    number = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return der(0x02, (b"\0" if number[0] & 0x80 else b"") + number)


keys = json.loads(Path(sys.argv[1]).read_text())["keys"]
key = next(key for key in keys if key["kty"] == "RSA")
rsa_encryption = bytes.fromhex("300d06092a864886f70d0101010500")
modulus_and_exponent = der(0x30, integer(key["n"]) + integer(key["e"]))
info = der(0x30, rsa_encryption + der(0x03, b"\0" + modulus_and_exponent))
text = base64.b64encode(info).decode()
lines = [text[at : at + 64] for at in range(0, len(text), 64)]
print("\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----"]))
