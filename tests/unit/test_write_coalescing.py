"""What is written in one turn of the loop is sent as one piece."""

import asyncio

import pytest

from api_gateway.server.write_coalescing import MAX_BUFFERED_BYTES, CoalescingTransport


class Wire:
    """A transport that keeps what it is given."""

    def __init__(self):
        self.sent = []
        self.is_closed = False

    def write(self, data):
        assert not self.is_closed
        self.sent.append(data)

    def close(self):
        self.is_closed = True

    def write_eof(self):
        self.is_closed = True

    def is_closing(self):
        return self.is_closed

    def get_extra_info(self, name):
        return f"its {name}"


def written(*turns):
    """The wire after some turns of a loop, in each of which something is done."""
    wire = Wire()

    async def run():
        gathering = CoalescingTransport(wire, asyncio.get_running_loop())
        for turn in turns:
            turn(gathering, wire)
            await asyncio.sleep(0)

    asyncio.run(run())
    return wire


def saying(*pieces):
    return lambda gathering, _: [gathering.write(piece) for piece in pieces]


def test_what_is_written_in_one_turn_is_one_piece():
    assert written(saying(b"head", b"body"), saying(b"next")).sent == [b"headbody", b"next"]


def test_nothing_is_sent_before_the_turn_ends():
    def look(gathering, wire):
        gathering.write(b"head")
        assert wire.sent == []

    assert written(look).sent == [b"head"]


def test_pieces_go_behind_what_is_held():
    wire = written(lambda gathering, _: (gathering.write(b"a"), gathering.writelines([b"b", b"c"])))

    assert wire.sent == [b"abc"]


def test_much_is_handed_on_at_once():
    half = b"x" * (MAX_BUFFERED_BYTES // 2)

    def look(gathering, wire):
        for piece in (half, half, b"y"):
            gathering.write(piece)
        assert wire.sent == [half + half + b"y"]
        gathering.write(b"z")

    assert written(look).sent == [half + half + b"y", b"z"]


@pytest.mark.parametrize("end", [CoalescingTransport.close, CoalescingTransport.write_eof])
def test_what_is_held_goes_before_the_end(end):
    wire = written(lambda gathering, _: (gathering.write(b"last"), end(gathering)))

    assert (wire.sent, wire.is_closed) == ([b"last"], True)


@pytest.mark.parametrize(
    "last", [CoalescingTransport.flush, CoalescingTransport.close, CoalescingTransport.write_eof]
)
def test_what_comes_after_the_end_is_dropped(last):
    def end(gathering, wire):
        gathering.write(b"late")
        wire.is_closed = True
        last(gathering)

    assert written(end, saying(b"later")).sent == []


def test_the_rest_is_the_transports_own():
    def look(gathering, _):
        assert gathering.get_extra_info("peername") == "its peername"

    assert written(look).sent == []
