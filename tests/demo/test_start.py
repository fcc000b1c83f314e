"""What `hub demo` does before and after it serves."""

import socket

import pytest

from hub.demo import running
from hub.errors import Refused


def test_a_port_that_is_taken_is_refused_with_a_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Refused, match=rf"Port {port} of 127.0.0.1 is taken; .* `hub demo --port {port + 1}`"):
            running._refuse_taken(port)
    running._refuse_taken(port)  # control: it was the listener
