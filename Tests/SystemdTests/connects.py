"""Connects to a socket again and again for a while: connects.py SOCKET SECONDS

Prints how often, how often it was not possible, and the longest wait in milliseconds. A connection that waits in the kernel
for a daemon that is being restarted is what socket activation is for.
"""
import socket
import sys
import time

path, seconds = sys.argv[1], float(sys.argv[2])
connects = refused = 0
longest = 0.0
end = time.monotonic() + seconds
while time.monotonic() < end:
    start = time.monotonic()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        try:
            client.connect(path)
            connects += 1
        except OSError as error:
            refused += 1
            print(error, file=sys.stderr)
    longest = max(longest, time.monotonic() - start)
    # Below what one user may do in a second.
    time.sleep(0.005)
print(connects, refused, round(longest * 1000))
