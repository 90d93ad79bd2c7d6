"""What can be seen of a TCP connection from its own end, and what a broken one leaves behind."""

import socket
from collections.abc import Iterator

import pytest

from realman_driver.connection import ACKNOWLEDGE_TIMEOUT, Connection


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket, socket.socket]]:
    """A connection, its socket, and a controller with a small buffer."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        tcp = socket.create_connection(listener.getsockname())
        controller, _ = listener.accept()
    with tcp, controller:
        yield Connection(tcp), tcp, controller


def fill(tcp: socket.socket) -> int:
    """Write until no more fits; bytes."""
    tcp.setblocking(False)
    written = 0
    try:
        while True:
            written += tcp.send(bytes(1000))
    except BlockingIOError:
        return written


def test_few_bytes_count_as_arrived_although_nobody_reads_them(ends) -> None:
    connection, tcp, _ = ends
    tcp.send(bytes(1000))
    for _ in range(1000):  # the acknowledgement may come a moment later
        if connection.unacknowledged() == 0:
            break
    assert connection.unacknowledged() == 0


def test_bytes_for_a_full_controller_are_seen_and_not_kept_for_ever(ends) -> None:
    connection, tcp, _ = ends
    assert fill(tcp) > 4096
    assert connection.unacknowledged() > 2048
    limit = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert limit == ACKNOWLEDGE_TIMEOUT * 1e3


def test_what_is_on_its_way_at_the_end_is_not_delivered_afterwards(ends) -> None:
    connection, tcp, controller = ends
    written = fill(tcp)
    connection.prepare_end()
    tcp.close()
    read = 0
    try:
        while data := controller.recv(65536):
            read += len(data)
    except ConnectionResetError:
        pass
    assert read < written


def test_last_stop_is_delivered_at_the_end(ends) -> None:
    connection, tcp, controller = ends
    connection.send(b"stop")
    connection.prepare_end()
    tcp.close()
    assert controller.recv(99) == b"stop"
    assert controller.recv(99) == b""
