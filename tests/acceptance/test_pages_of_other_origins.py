"""A page of another origin in a real browser: it uploads, follows the stream, and reads the feed."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.acceptance.conftest import running
from tests.support.browser import browser_tab
from tests.support.service_processes import needs_proc

pytestmark = [needs_proc, pytest.mark.slow]

#: Uploads a file, and follows its progress by EventSource until it is done.
FOLLOW = """async (api, key) => {
  const headers = { "X-Edx-Api-Key": key, "Content-Type": "text/csv" };
  const course = { course_id: "course-v1:Uni+B+1", course_modes: [{ slug: "audit" }] };
  const saved = await fetch(`${api}/courses/course-v1:Uni+B+1`, {
    method: "PUT", body: JSON.stringify(course),
    headers: { "X-Edx-Api-Key": key, "Content-Type": "application/json" } });
  if (!saved.ok) return await saved.text();
  const rows = Array.from({ length: 3000 }, (_, n) => `u${n},course-v1:Uni+B+1`);
  const body = ["user,course_id", ...rows].join("\\n");
  const taken = await fetch(`${api}/submissions`, { method: "POST", headers, body });
  const status = await taken.json();
  const heard = await new Promise((resolve, reject) => {
    const events = [];
    const source = new EventSource(new URL(status.links.events, api));
    source.onerror = () => reject(new Error(`the stream failed after ${events.length} events`));
    const hear = (event) => events.push([event.type, event.lastEventId, JSON.parse(event.data)]);
    source.addEventListener("progress", hear);
    source.addEventListener("done", (event) => { hear(event); source.close(); resolve(events); });
  });
  const last = heard[heard.length - 1];
  return { link: status.links.events, place: taken.headers.get("Location"), names: heard.map((one) => one[0]),
           ids: heard.map((one) => one[1]), counts: last[2].counts };
}"""
#: Reads the stream of the change feed with fetch, which can send headers.
FEED = """async (api, key) => {
  const answer = await fetch(`${api}/changes?since=0`, {
    headers: { "X-Edx-Api-Key": key, "Accept": "text/event-stream" } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("id: 3000\\n")) text += (await reader.read()).value;
  await reader.cancel();
  return [...text.matchAll(/event: \\S+\\nid: (\\d+)\\ndata: /g)].map((found) => Number(found[1]));
}"""
#: What becomes of a request and a stream of a page that is not on the list.
REFUSED = """async (api, key, stream) => {
  const fetched = await fetch(`${api}/submissions`, { headers: { "X-Edx-Api-Key": key } })
    .then(() => "read", (error) => error.name);
  const simple = await fetch(`${api}/changes`).then(() => "read", (error) => error.name);
  const streamed = await new Promise((resolve) => {
    const source = new EventSource(new URL(stream, api));
    source.onerror = () => { source.close(); resolve("refused"); };
    source.onopen = () => { source.close(); resolve("read"); };
  });
  return [fetched, simple, streamed];
}"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>A portal</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@pytest.fixture(scope="module")
def portal() -> Iterator[int]:
    """The port of a web server with an empty page."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def service(portal, tmp_path_factory):
    """A stack that shares with the page at 127.0.0.1, and not with the same one at localhost."""
    origin = f"http://127.0.0.1:{portal}"
    with running(tmp_path_factory.mktemp("shared"), ENROLL_CORS_ORIGINS=origin) as up:
        yield up


@pytest.fixture
def tab(tmp_path):
    with browser_tab(tmp_path) as opened:
        yield opened


def test_a_page_of_the_list_works_and_another_one_does_not(tab, portal, service):
    api = f"{service.url}/api/enrollment/v1"
    key = service.key()

    def call(script, *more):
        given = ", ".join(map(repr, (api, key, *more)))
        return tab.evaluate(f"({script})({given})")

    tab.show(f"http://127.0.0.1:{portal}/")
    followed = call(FOLLOW)
    assert isinstance(followed, dict), followed
    positions = call(FEED)
    complaints = list(tab.complaints)
    tab.show(f"http://localhost:{portal}/")
    refused = call(REFUSED, followed["link"])

    assert followed["place"].startswith("/api/enrollment/v1/submissions/")
    assert followed["names"][-1] == "done"
    assert set(followed["names"][:-1]) <= {"progress"}
    assert len(set(followed["ids"])) == len(followed["ids"])
    assert followed["counts"]["enrolled"] == 3_000
    assert positions == list(range(1, 3_001))
    assert complaints == []
    assert refused == ["TypeError", "TypeError", "refused"]
    assert any("CORS" in complaint for complaint in tab.complaints)
