#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The far end of tcprate: sends or receives as fast as it can.

usage: tcp.py PORT-FILE

Listens on a free port of the loopback interface and writes its number to
PORT-FILE. The first byte of a connection says what is wanted: "r", the client
receives, or "t", it transmits.
"""

import os
import socket
import sys
import threading

SIZE = 1 << 18


def serve(conn):
    data = bytearray(SIZE)
    try:
        with conn:
            if conn.recv(1) == b"r":
                while True:
                    conn.sendall(data)
            while conn.recv_into(data):
                pass
    except OSError:
        # The client has had enough.
        pass


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with socket.create_server(("127.0.0.1", 0)) as server:
        with open(sys.argv[1] + ".new", "w", encoding="ascii") as f:
            f.write(f"{server.getsockname()[1]}\n")
        os.rename(sys.argv[1] + ".new", sys.argv[1])
        while True:
            conn, _ = server.accept()
            threading.Thread(target=serve, args=(conn,), daemon=True).start()


if __name__ == "__main__":
    main()
