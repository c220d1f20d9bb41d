"""A headless Chromium, driven over a pipe by the DevTools protocol."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.binaries import ServerMissing

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--remote-debugging-pipe"
)
#: Levels of log entries that a page must not cause.
_LOUD = {"error", "warning"}


def chromium_program() -> str:
    """Returns the path of this machine's Chromium. Raises ServerMissing."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        raise ServerMissing("there is no Chromium: tests/servers/fetch.sh installs it, as root")
    return program


class Tab:
    """One page of the browser; `complaints` are errors and warnings since it was opened."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._unread = b""
        self._last = 0
        self._events: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self._session = ""

    def open(self) -> None:
        """Opens an empty page."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result."""
        self._last += 1
        command: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while (message := self._read()).get("id") != self._last:
            self._events.append(message)
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def show(self, url: str, *, width: int = 1280, scheme: str = "light") -> None:
        """Shows a page in a window of this width until it has loaded."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", features=features)
        # another page first: an address that differs in its anchor only would not load again
        for address in ("about:blank", url):
            self._events.clear()
            self.send("Page.navigate", url=address)
            self._wait_for("Page.loadEventFired")

    def evaluate(self, script: str) -> Any:
        """Returns the value of a JavaScript expression; a promise is awaited."""
        options = {"returnByValue": True, "awaitPromise": True}
        result = self.send("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Presses and releases a key."""
        for kind in ("keyDown", "keyUp"):
            pressed = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
            self.send("Input.dispatchKeyEvent", **pressed, **({"text": text} if text else {}))

    def _wait_for(self, method: str) -> None:
        while not any(event.get("method") == method for event in self._events):
            self._events.append(self._read())

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            received = os.read(self._answers, 1 << 16)
            assert received, "the browser has ended"
            self._unread += received
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        match message.get("method"):
            case "Log.entryAdded" if parameters["entry"]["level"] in _LOUD:
                self.complaints.append(parameters["entry"]["text"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(parameters))


@contextmanager
def browser_tab(folder: Path) -> Iterator[Tab]:
    """Gives a page of a new browser. Raises ServerMissing."""
    program = chromium_program()
    commands, to_browser = os.pipe()
    from_browser, answers = os.pipe()
    # the protocol is on the file descriptors 3 and 4
    script = f'exec "$0" {_FLAGS} --user-data-dir="$1" 3<&{commands} 4>&{answers}'
    process = subprocess.Popen(
        ["bash", "-c", script, program, folder],
        pass_fds=(commands, answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands)
    os.close(answers)
    try:
        tab = Tab(to_browser, from_browser)
        tab.open()
        yield tab
    finally:
        process.terminate()
        process.wait()
        os.close(to_browser)
        os.close(from_browser)
