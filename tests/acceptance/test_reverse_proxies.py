"""HAProxy and nginx as in deploy/, in front of two gateways: slow clients, streams, addresses."""

import re
import subprocess

import httpx
import pytest

from tests.support import reverse_proxies
from tests.support.raw_http import Raw, status_of
from tests.support.reverse_proxies import DEPLOY, HAPROXY, HAPROXY_FILES, NGINX, PROXIES
from tests.support.service_processes import API, PATIENCE, client, needs_proc, open_course

pytestmark = needs_proc

needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="there is no haproxy here")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="there is no nginx here")
COURSE = "course-v1:Uni+Proxied+2026"
#: Seconds after which a proxy ends what is silent or slow: 10, on a busy machine.
CUT_AFTER = (8, 40)
#: What a file of rows that never ends is sent through.
UPLOAD = f"POST {API}/submissions HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("haproxy", marks=needs_haproxy),
        pytest.param("nginx", marks=needs_nginx),
    ],
)
def proxied(request, production, tmp_path_factory):
    """The port of a proxy in front of the gateways, and the key."""
    folder = tmp_path_factory.mktemp(request.param)
    folder.chmod(0o755)
    with PROXIES[request.param](folder, production.ports()) as port:
        yield port, production.key


@pytest.mark.slow
def test_silent_and_slow_clients_are_cut_and_hold_up_nobody(proxied):
    port, key = proxied
    slow = b"GET /readyz HTTP/1.1\r\nHost: x\r\nX-Slow: "
    with Raw(port) as silent, Raw(port).send(slow) as headers, client(_url(port), key) as http:
        assert http.get("/courses", params={"limit": 1}).status_code == 200

        assert status_of(headers.read()) in {0, 408}
        assert status_of(silent.read()) in {0, 408}

    for closed_after in (headers.closed_after, silent.closed_after):
        assert CUT_AFTER[0] < closed_after < CUT_AFTER[1]


def test_an_event_is_sent_on_while_the_stream_is_open(proxied):
    port, key = proxied
    with client(_url(port), key) as http, client(_url(port), key) as other:
        other.put(f"/courses/{COURSE}", json=open_course(COURSE)).raise_for_status()
        events = {"Accept": "text/event-stream"}
        with http.stream("GET", "/changes?type=enrollment.created", headers=events) as stream:
            assert stream.status_code == 200
            asked = {"user": f"ada{port}", "course_details": {"course_id": COURSE}}
            other.post("/enrollment", json=asked).raise_for_status()

            assert any(f"ada{port}" in line for line in stream.iter_lines())


def test_an_upload_is_passed_on_as_it_comes(proxied):
    """A gateway refuses a file without a key before its end, so it has what was sent by then."""
    port, _ = proxied
    with Raw(port) as upload:
        upload.send(f"{UPLOAD}Transfer-Encoding: chunked\r\n\r\n5\r\nuser\n\r\n".encode())

        assert status_of(upload.read_response()) == 401


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/metrics%2F"]
)
def test_figures_are_not_for_the_outside(proxied, path):
    port, key = proxied
    asked = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    with Raw(port) as raw:
        assert status_of(raw.send(asked.encode()).read_response()) == 404


def test_the_forms_of_the_console_are_taken_through_a_proxy_at_any_port(proxied):
    """A browser names the port in Origin, and the gateway compares it with Host."""
    port, _ = proxied
    with httpx.Client(base_url=_url(port), headers={"Origin": _url(port)}) as browser:
        page = browser.get("/console/login")
        token = re.search(r'name="form_token" value="([^"]+)"', page.text).group(1)
        sent = browser.post("/console/login", data={"form_token": token, "credential": "enr_x"})

        assert (sent.status_code, "API key is not valid" in sent.text) == (401, True)


def _url(port):
    return f"http://127.0.0.1:{port}"


def said_by(command, **environment):
    done = subprocess.run(
        [str(word) for word in command],
        env=environment or None,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@needs_haproxy
@pytest.mark.parametrize("backend", ["hosts.cfg", "compose.cfg"])
def test_haproxy_finds_nothing_wrong_in_its_files(backend):
    environment = reverse_proxies.haproxy_environment(8000, (8001, 8002))
    files = [*HAPROXY_FILES[:2], "-f", DEPLOY / "haproxy" / backend]
    status, output = said_by([HAPROXY, "-c", *files], **environment)

    assert status == 0, output
    assert "WARNING" not in output, output


@needs_nginx
def test_nginx_finds_nothing_wrong_in_its_file(tmp_path):
    main = reverse_proxies.nginx_files(tmp_path, 8000, (8001, 8002))
    status, output = said_by([NGINX, "-t", "-c", main])

    assert status == 0, output
    assert "[warn]" not in output, output
