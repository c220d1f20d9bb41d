"""The history returns what clients and fault injectors wrote, also with concurrent writers."""

import json
import threading

import pytest

from tests.fault_lab.history import History, Op, Phase, read_history


@pytest.fixture
def history(tmp_path):
    with History(tmp_path / "history.jsonl") as made:
        yield made


def test_what_is_written_is_there_at_once_with_types(history):
    t = history.write(Op.SINGLE, Phase.INVOKE, client="one", key="k", wishes=[["ada", "c"]])
    history.write(Op.SINGLE, Phase.OK, client="one", key="k", status=202, id="i", seconds=0.5)

    invoked, answered = read_history(history.path)

    assert (invoked.number, invoked.t, invoked.op, invoked.phase) == (1, t, Op.SINGLE, Phase.INVOKE)
    assert (invoked.client, invoked.key, invoked.status, invoked.id) == ("one", "k", None, None)
    assert invoked.facts == {"wishes": [["ada", "c"]]}
    assert (answered.status, answered.id, answered.facts) == (202, "i", {"seconds": 0.5})
    assert answered.t >= invoked.t


def test_threads_never_mix_their_lines_and_times_never_go_back(history):
    def write(name: str) -> None:
        for number in range(200):
            history.write(Op.NOTE, Phase.OK, client=name, number=number, text="x" * 500)

    threads = [threading.Thread(target=write, args=[f"client{n}"]) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    records = list(read_history(history.path))
    assert [record.number for record in records] == list(range(1, 1_001))
    assert [record.t for record in records] == sorted(record.t for record in records)
    for thread in range(5):
        its_own = [one.facts["number"] for one in records if one.client == f"client{thread}"]
        assert its_own == list(range(200))


def test_a_nemesis_is_noted_from_start_to_stop_even_where_it_fails(history):
    def fail() -> None:
        with history.fault("F1", pid=7) as active_fault:
            active_fault.witness(died=7)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    history.heal()

    records = list(read_history(history.path))
    assert [record.phase for record in records] == [
        Phase.START,
        Phase.WITNESS,
        Phase.STOP,
        Phase.HEAL,
    ]
    assert records[0].facts == {"fault": "F1", "pid": 7}
    assert records[1].facts == {"fault": "F1", "died": 7}


def test_another_history_goes_on_in_the_same_file(history):
    history.write(Op.NOTE, Phase.OK, client="one")
    history.close()
    history.close()
    with History(history.path) as more:
        more.write(Op.NOTE, Phase.OK, client="two")
    assert [record.client for record in read_history(history.path)] == ["one", "two"]
    assert all(json.loads(line) for line in history.path.read_text().splitlines())
