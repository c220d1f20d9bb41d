"""Tokens in `links.events`: a way to one stream, for its caller, for some minutes."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest

from api_gateway.auth.links import link_tokens
from api_gateway.auth.signing_keys import new_signing_key
from api_gateway.status import event_stream
from enrollment.storage.credentials import api_keys
from tests.support.event_reader import Reader, events_in
from tests.support.gateway import AUDIT, BASE, EDX_KEY, fresh, utc_now

CSV = {"Content-Type": "text/csv"}


def hand_in(gateway, who):
    body = f"user,course_id\n{fresh('u')},{gateway.course(AUDIT)}\n"
    answer = gateway.post("submissions", who, body=body, headers=CSV)
    assert answer.status_code == 202, answer.text
    return answer.json


def token_in(link):
    return parse_qs(urlsplit(link).query)["token"][0]


@pytest.mark.parametrize("kind", ["key", "edx", "staff", "staff with a key"])
def test_the_link_is_enough_for_who_got_it(gateway, kind):
    who = {
        "key": gateway.key("enroll"),
        "edx": gateway.edx,
        "staff": gateway.staff,
        "staff with a key": gateway.staff | gateway.server,
    }[kind]
    accepted = hand_in(gateway, who)
    gateway.work()
    status = gateway.get(accepted["links"]["self"], who).json
    for link in (accepted["links"]["events"], status["links"]["events"]):
        answer = gateway.get(link)
        assert answer.status_code == 200, answer.text
        assert [it.name for it in events_in(answer.text)] == ["done"]
        assert gateway.call("HEAD", link).status_code == 200


def test_cancelling_gives_a_link_as_well(small):
    links = hand_in(small, small.admin)["links"]
    cancelled = small.post(links["cancel"], small.admin).json
    small.work()
    answer = small.get(cancelled["links"]["events"])
    assert [it.name for it in events_in(answer.text)] == ["done"]


def test_the_token_opens_nothing_else(small):
    links, other = (hand_in(small, small.admin)["links"] for _ in range(2))
    token = token_in(links["events"])
    path = urlsplit(links["events"]).path
    for elsewhere in [
        urlsplit(other["events"]).path,
        links["self"],
        links["outcomes"],
        f"{BASE}/submissions/{path.split('/')[-2].upper()}/events",
        "changes",
    ]:
        answer = small.get(f"{elsewhere}?token={token}")
        assert answer.status_code == 401, elsewhere
    assert small.post(f"{links['cancel']}?token={token}").status_code == 401
    for scheme in ("JWT", "Bearer"):
        headers = {"Authorization": f"{scheme} {token}"}
        assert small.get(path, headers=headers).status_code == 401
    assert small.get(path, {"X-Edx-Api-Key": token}).status_code == 401


def test_a_token_that_was_changed_is_refused(small):
    link = hand_in(small, small.admin)["links"]["events"]
    path, token = urlsplit(link).path, token_in(link)
    kid, _, sealed = token.partition(".")
    changed = [
        "",
        "x",
        ".",
        kid,
        f"{kid}.",
        f"x.{sealed}",
        f"{kid}.{sealed[:-1]}",
        f"{kid}.{sealed[:40]}{'A' if sealed[40] != 'A' else 'B'}{sealed[41:]}",
        "%C3%A4",
        "%00",
        "a" * 5_000,
    ]
    for text in changed:
        answer = small.get(f"{path}?token={text}")
        assert answer.status_code == 401, text
        assert answer.json["code"] == "not_authenticated"


def test_a_token_can_be_used_for_some_minutes_and_an_open_stream_goes_on(small, monkeypatch):
    monkeypatch.setattr(event_stream, "CALLER_CHECK_SECONDS", 0.01)
    passed = [0.0]
    monkeypatch.setattr(small.parts.link_tokens, "_wall_clock", lambda: time.time() + passed[0])
    who = small.key("enroll")
    links = hand_in(small, who)["links"]
    reader = Reader(small, links["events"], {})
    reader.until(lambda: reader.events)
    passed[0] = link_tokens.LINK_SECONDS + 5
    assert small.get(links["events"]).status_code == 401
    renewed = small.get(links["self"], who).json["links"]["events"]
    small.work()
    reader.until_ended()
    assert [it.name for it in reader.events] == ["progress", "done"]
    assert small.get(renewed).status_code == 200


def test_a_link_ends_with_the_key_and_so_does_its_stream(small, monkeypatch):
    monkeypatch.setattr(event_stream, "CALLER_CHECK_SECONDS", 0.01)
    monkeypatch.setattr("api_gateway.auth.authentication.KEY_CACHE_SECONDS", 0.01)
    name = fresh("key-")
    link = hand_in(small, small.key("enroll", name=name))["links"]["events"]
    reader = Reader(small, link, {})
    reader.until(lambda: reader.events)
    with small.sessions.begin() as session:
        (number,) = (key.id for key in api_keys.all_keys(session) if key.name == name)
        api_keys.revoke(session, number, now=utc_now())
    reader.until_ended()
    assert [it.name for it in reader.events] == ["progress"]
    assert small.get(link).status_code == 401
    small.work()


def test_credentials_in_headers_count_first(small):
    link = hand_in(small, small.server)["links"]["events"]
    small.work()
    assert small.get(link, small.learner("ann")).status_code == 404
    assert small.get(link, {"X-Edx-Api-Key": "wrong"}).status_code == 401
    assert small.get(link, small.admin).status_code == 200


def test_polling_gets_the_same_link_for_a_while(small):
    place = hand_in(small, small.admin)["links"]["self"]
    first, second = (small.get(place, small.admin).json["links"]["events"] for _ in range(2))
    assert first == second
    other = small.get(place, small.key("admin", name=fresh("other-"))).json["links"]["events"]
    assert other != first


def test_a_link_reveals_no_credentials(small):
    link = hand_in(small, small.edx)["links"]["events"]
    assert EDX_KEY not in link
    assert len(link) < 500


def test_without_a_signing_key_there_is_no_token(start):
    gateway = start(own_tokens="false", signing_key="")
    links = hand_in(gateway, gateway.admin)["links"]
    assert links["events"] == f"{links['self']}/events"
    assert gateway.get(f"{links['events']}?token=a.b").status_code == 401
    gateway.work()
    assert gateway.get(links["events"], gateway.admin).status_code == 200


def test_a_link_of_a_key_that_was_replaced_works_on(start, tmp_path):
    file = tmp_path / "keys"
    old, new = (new_signing_key().secret.decode() for _ in range(2))
    file.write_text(f"{old}\n")
    gateway = start(signing_key="", signing_key_file=str(file))
    link = hand_in(gateway, gateway.admin)["links"]["events"]
    gateway.work()
    file.write_text(f"{new}\n{old} until 2999-01-01T00:00:00+00:00\n")
    renewed = hand_in(gateway, gateway.admin)["links"]["events"]
    assert token_in(renewed).partition(".")[0] != token_in(link).partition(".")[0]
    assert gateway.get(link).status_code == 200


def test_no_token_is_logged(small, capfd):
    link = hand_in(small, small.admin)["links"]["events"]
    small.work()
    small.get(link)
    small.get(link.replace("/events", "/other"))
    small.get(f"{link}x")
    written = capfd.readouterr()
    assert token_in(link)[:30] not in written.out + written.err
