"""The receiver of webhooks in tests, where senders are killed at any time."""

import socket
from urllib.parse import urlsplit

import pytest

from tests.support.webhook_receiver import WebhookReceiver

HEAD = b"POST /hook HTTP/1.1\r\nContent-Length: 10\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", HEAD[:20], HEAD, HEAD + b"half"])
def test_a_sender_that_leaves_in_the_middle_is_not_waited_for(sent):
    with WebhookReceiver() as receiver:
        at = urlsplit(receiver.url)
        with socket.create_connection((at.hostname, at.port)) as connection:
            connection.sendall(sent)

    assert receiver.received == []
