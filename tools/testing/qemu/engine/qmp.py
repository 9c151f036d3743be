#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A small QMP client: a class for runner.py and a command for host scripts.

usage: qmp.py SOCKET COMMAND [NAME=VALUE...]

Prints the "return" object as JSON. A VALUE that is JSON is sent as such,
anything else as a string.
"""

import json
import select
import socket
import sys
import time

import speed


class QMPError(Exception):
    pass


class QMP:
    """One monitor connection. Events are kept until somebody waits for them."""

    def __init__(self, sock, timeout=10):
        self.sock = sock
        self.buf = b""
        self.events = []
        self.timeout = timeout
        greeting = self._message(time.monotonic(), timeout)
        if "QMP" not in greeting:
            raise QMPError(f"not a QMP greeting: {greeting}")
        self.command("qmp_capabilities")

    @classmethod
    def connect(cls, path, timeout=10):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(path)
        return cls(sock, timeout)

    def _message(self, start, timeout):
        """The next one, if it comes TIMEOUT seconds after START; later if the machine is slow."""
        slow = 1
        while b"\n" not in self.buf:
            left = max(0, start + timeout * slow - time.monotonic())
            if not select.select([self.sock], [], [], left)[0]:
                if slow > 1:
                    raise QMPError("no answer from QEMU's monitor")
                slow = max(1.01, speed.slowness(0.3))
                continue
            data = self.sock.recv(65536)
            if not data:
                raise QMPError("QEMU closed its monitor")
            self.buf += data
        line, self.buf = self.buf.split(b"\n", 1)
        return json.loads(line)

    def command(self, name, **args):
        message = {"execute": name}
        if args:
            message["arguments"] = args
        self.sock.sendall(json.dumps(message).encode() + b"\n")
        start = time.monotonic()
        while True:
            answer = self._message(start, self.timeout)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise QMPError(f"{name}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def wait_event(self, name, timeout=30, **data):
        """The next event NAME whose data has all of DATA."""
        start = time.monotonic()
        while True:
            for i, event in enumerate(self.events):
                have = event.get("data", {})
                if event["event"] == name and all(have.get(k) == v for k, v in data.items()):
                    return self.events.pop(i)
            answer = self._message(start, timeout)
            if "event" in answer:
                self.events.append(answer)


def parse_arguments(words):
    """NAME=VALUE words as a dictionary."""
    args = {}
    for word in words:
        name, eq, value = word.partition("=")
        if not eq:
            raise QMPError(f"argument \"{word}\" is not NAME=VALUE")
        try:
            args[name] = json.loads(value)
        except ValueError:
            args[name] = value
    return args


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.strip())
    try:
        qmp = QMP.connect(sys.argv[1])
        print(json.dumps(qmp.command(sys.argv[2], **parse_arguments(sys.argv[3:]))))
    except (QMPError, OSError) as e:
        sys.exit(f"qmp.py: {e}")


if __name__ == "__main__":
    main()
