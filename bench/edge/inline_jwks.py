"""inline_jwks.py CONFIGURATION JWKS TOKENS: Envoy's configuration with the keys in it, and a cache for so many tokens."""

import json
import sys
from pathlib import Path

configuration, jwks, tokens = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
cache = f"jwt_cache_config: {{ jwt_cache_size: {tokens} }}" if tokens else ""
text = configuration.read_text().replace("@JWKS@", json.dumps(jwks.read_text())).replace("@CACHE@", cache)
print(text)
