#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The far end of netrate.c: sends or receives as fast as it can.

usage: netrate.py PORT-FILE

Listens on a free port of the loopback interface, for TCP and UDP, and writes its
number to PORT-FILE. The first byte of a connection says what is wanted: "r", the
client receives, or "t", it transmits. UDP datagrams begin as netrate.c has it,
and are only sent in answer to one: nothing goes on when the client has ended.
"""

import os
import socket
import struct
import sys
import threading

SIZE = 1 << 18
# As in netrate.c.
WINDOW = 64
ACK = 16
PAYLOAD = 1472
HEAD = struct.Struct("<c7xQQ")


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


class Client:
    """What is known of one UDP stream."""

    def __init__(self):
        self.sent = 0
        self.last = None
        self.arrived = 0
        self.acked = 0

    def wanted(self, number):
        """Numbers of the datagrams that may be sent now."""
        # If the same number is asked for again, datagrams sent since are lost.
        base = self.sent if number == self.last else number
        self.last = number
        numbers = range(self.sent, base + WINDOW)
        self.sent = max(self.sent, base + WINDOW)
        return numbers

    def received(self, number, size):
        """True if it is time to acknowledge."""
        self.arrived += size
        if number + 1 - self.acked < ACK:
            return False
        self.acked = number + 1
        return True


def datagrams(server):
    data = bytearray(SIZE)
    clients = {}
    padding = bytes(PAYLOAD - HEAD.size)
    while True:
        size, address = server.recvfrom_into(data)
        if size < HEAD.size:
            continue
        what, number, _ = HEAD.unpack_from(data)
        client = clients.get(address)
        # An address can be that of an earlier client again.
        if not client or (number == 0 and (what == b"t" or client.last)):
            client = clients[address] = Client()
        try:
            if what == b"r":
                for i in client.wanted(number):
                    server.sendto(HEAD.pack(b"t", i, 0) + padding, address)
            elif client.received(number, size):
                server.sendto(HEAD.pack(b"a", number + 1, client.arrived), address)
        except OSError:
            # The client has had enough.
            del clients[address]


def listen():
    """A TCP and a UDP socket with the same port."""
    while True:
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
            return tcp, udp
        except OSError:
            # The UDP port is somebody else's: try another pair.
            tcp.close()
            udp.close()


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    tcp, udp = listen()
    threading.Thread(target=datagrams, args=(udp,), daemon=True).start()
    with open(sys.argv[1] + ".new", "w", encoding="ascii") as f:
        f.write(f"{tcp.getsockname()[1]}\n")
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    while True:
        conn, _ = tcp.accept()
        threading.Thread(target=serve, args=(conn,), daemon=True).start()


if __name__ == "__main__":
    main()
