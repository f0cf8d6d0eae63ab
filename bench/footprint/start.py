"""start.py ISSUER PORT: starts it, prints how many milliseconds it takes until it is ready, and stops it."""

import http.client
import os
import subprocess
import sys
import time

program, port = sys.argv[1:3]
started = time.perf_counter()
issuer = subprocess.Popen([program], env={**os.environ, "PORT": port}, stdout=subprocess.DEVNULL)
while True:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=1)
        connection.request("GET", "/health/ready")
        if connection.getresponse().status == 200:
            break
    except OSError:
        pass
    if issuer.poll() is not None:
        sys.exit("the issuer does not start")
    time.sleep(0.001)
print(f"{(time.perf_counter() - started) * 1000:.1f}")
issuer.terminate()
issuer.wait()
