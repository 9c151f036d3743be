#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Send back whatever arrives: the far end of the virtio consoles.

usage: echo.py SOCKET...
"""

import selectors
import socket
import sys


def accept(selector, listener):
    conn = listener.accept()[0]
    conn.setblocking(True)
    selector.register(conn, selectors.EVENT_READ, pass_back)


def pass_back(selector, conn):
    data = conn.recv(65536)
    if data:
        conn.sendall(data)
    else:
        selector.unregister(conn)
        conn.close()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    selector = selectors.DefaultSelector()
    for path in sys.argv[1:]:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        selector.register(listener, selectors.EVENT_READ, accept)
    while True:
        for key, _ in selector.select():
            key.data(selector, key.fileobj)


if __name__ == "__main__":
    main()
