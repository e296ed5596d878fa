"""As much of Redis' protocol as the service needs. https://redis.io/docs/latest/develop/reference/protocol-spec/"""

import socket

DEADLINE_S = 2.0


class RedisError(Exception):
    """Redis refused a command, or said something that is none of its answers."""


def call(address, *words):
    """Sends one command on a connection of its own, and returns its answer: a text, a number, or None."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), DEADLINE_S) as connection:
        command = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word.encode()
            command.append(b"$%d\r\n%s\r\n" % (len(data), data))
        connection.sendall(b"".join(command))
        with connection.makefile("rb") as answer:
            return _read(answer)


def _read(answer):
    line = answer.readline()
    if not line.endswith(b"\r\n"):
        raise RedisError("Redis closed the connection within an answer")
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return rest.decode()
    if kind == b":":
        return int(rest)
    if kind == b"$":
        length = int(rest)
        return None if length < 0 else answer.read(length + 2)[:-2].decode()
    raise RedisError(f"Redis answered {line!r}")
