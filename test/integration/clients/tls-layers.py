"""Puts TLS on a connection and takes it off again with Python's ssl, and prints what it saw as JSON.

The one argument is a JSON object: port, ca (a file), and versions: those of TLS, one for each turn.
The server echoes; STARTTLS starts TLS, inside that which is there, and PLAIN ends the topmost layer.
"""

import json
import socket
import ssl
import sys

BLOCK = bytes(range(97, 123)) * 4000 + b"\n"


class Layer:
    """TLS over anything with sendall and recv."""

    def __init__(self, below, context):
        self.below = below
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.call(self.tls.do_handshake)

    def call(self, function, *arguments):
        while True:
            try:
                return function(*arguments)
            except ssl.SSLWantReadError:
                self.flush()
                data = self.below.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()
            finally:
                self.flush()

    def flush(self):
        if self.outgoing.pending:
            self.below.sendall(self.outgoing.read())

    def sendall(self, data):
        while data:
            data = data[self.call(self.tls.write, data) :]

    def recv(self, length):
        return self.call(self.tls.read, length)

    def version(self):
        return self.tls.version()

    def unwrap(self):
        self.call(self.tls.unwrap)
        if self.incoming.pending:
            raise RuntimeError("there is something behind the end of TLS")
        return self.below


def ask(stream, line):
    stream.sendall(line)
    answer = b""
    while not answer.endswith(b"\n"):
        data = stream.recv(65536)
        if not data:
            raise RuntimeError("the connection has ended behind %r" % answer[-100:])
        answer += data
    return answer


def exchange(stream):
    for line in (b"hello\n", BLOCK):
        if ask(stream, line) != line:
            raise RuntimeError("the echo is not what was sent")


def command(stream, line):
    answer = ask(stream, line)
    if answer != b"OK\n":
        raise RuntimeError("%r was answered by %r" % (line, answer[:100]))


def context_of(task, version):
    context = ssl.create_default_context(cafile=task["ca"])
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    return context


def connect(task):
    stream = socket.create_connection(("127.0.0.1", task["port"]))
    stream.settimeout(20)
    return stream


def in_turn(task):
    """Plaintext and TLS take turns on one connection."""
    seen = []
    stream = connect(task)
    for version in task["versions"]:
        exchange(stream)
        command(stream, b"STARTTLS\n")
        stream = context_of(task, version).wrap_socket(stream, server_hostname="localhost")
        seen.append(stream.version())
        exchange(stream)
        command(stream, b"PLAIN\n")
        stream = stream.unwrap()
    exchange(stream)
    stream.close()
    return seen


def nested(task):
    """TLS in TLS, one layer for each turn, and all of them off again."""
    seen = []
    socket_below = stream = connect(task)
    for version in task["versions"]:
        exchange(stream)
        command(stream, b"STARTTLS\n")
        stream = Layer(stream, context_of(task, version))
        seen.append(stream.version())
    exchange(stream)
    while stream is not socket_below:
        command(stream, b"PLAIN\n")
        stream = stream.unwrap()
        exchange(stream)
    stream.close()
    return seen


def main():
    task = json.loads(sys.argv[1])
    print(json.dumps({"in_turn": in_turn(task), "nested": nested(task)}))


main()
