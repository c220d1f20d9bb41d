/* Times in the reader's zone, dropping of files, live progress. Texts are set as text, never as HTML. */
"use strict";

(function () {
  const numbers = new Intl.NumberFormat("en");
  const times = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

  function showTimes(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (!Number.isNaN(at.getTime())) {
        time.textContent = times.format(at);
      }
    }
  }

  function span(seconds) {
    if (seconds === null) {
      return "–";
    }
    if (seconds < 60) {
      return `${seconds} s`;
    }
    const minutes = Math.floor(seconds / 60);
    return minutes < 60
      ? `${minutes} min ${seconds % 60} s`
      : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }

  function setLive(name, text) {
    for (const place of document.querySelectorAll(`[data-live="${name}"]`)) {
      place.textContent = text;
    }
  }

  function showStatus(status) {
    const { total, pending, ...outcomes } = status.counts;
    const bar = document.getElementById("progress");
    if (bar) {
      bar.value = total - pending;
    }
    setLive("completed", numbers.format(total - pending));
    setLive("rate", numbers.format(status.rows_per_second || 0));
    setLive("eta", span(status.eta_seconds));
    for (const [outcome, count] of Object.entries(outcomes)) {
      setLive(outcome, numbers.format(count));
      const tile = document.querySelector(`[data-outcome="${outcome}"]`);
      if (tile) {
        tile.classList.toggle("zero", count === 0);
      }
    }
    const note = document.getElementById("live-note");
    if (note && status.state === "running" && note.textContent !== "It is running.") {
      note.textContent = "It is running.";
      const pill = document.querySelector("#state .pill");
      if (pill && pill.textContent === "Waiting") {
        pill.textContent = "Running";
      }
    }
  }

  function follow(section) {
    const source = new EventSource(section.dataset.events);
    source.addEventListener("progress", (event) => showStatus(JSON.parse(event.data)));
    source.addEventListener("done", (event) => {
      source.close();
      showStatus(JSON.parse(event.data));
      window.location.reload();
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) {
        // the link of the page has expired: the page has a new one
        window.setTimeout(() => window.location.reload(), 3000);
      }
    });
  }

  function acceptDrops(area) {
    const input = area.querySelector("input[type=file]");
    for (const name of ["dragenter", "dragover"]) {
      area.addEventListener(name, (event) => {
        event.preventDefault();
        area.classList.add("over");
      });
    }
    for (const name of ["dragleave", "drop"]) {
      area.addEventListener(name, () => area.classList.remove("over"));
    }
    area.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files.length) {
        input.files = event.dataTransfer.files;
        input.dispatchEvent(new Event("change", { bubbles: true }));
      }
    });
  }

  function showButton(form, isBusy) {
    const button = form.matches("[data-upload]") && form.querySelector("button[type=submit]");
    if (button) {
      button.textContent = isBusy ? "Uploading…" : "Show the plan";
      button.setAttribute("aria-busy", String(isBusy));
    }
  }

  function checkSize(form) {
    // the server would refuse it in the middle, and browsers do not show why
    const input = form.querySelector("input[type=file]");
    const isLong = input.files.length > 0 && input.files[0].size > Number(input.dataset.most);
    const most = document.getElementById("most").textContent;
    input.setCustomValidity(isLong ? `The file is larger than ${most}.` : "");
    input.reportValidity();
  }

  showTimes(document);
  document.body.addEventListener("htmx:afterSwap", () => showTimes(document));
  document.querySelectorAll("[data-events]").forEach(follow);
  document.querySelectorAll("[data-drop]").forEach(acceptDrops);
  document.addEventListener("submit", (event) => {
    // what a second click would do again: a key, a secret
    if (event.target.matches("form[data-once]")) {
      if (event.target.dataset.sent) {
        event.preventDefault();
      }
      event.target.dataset.sent = "yes";
    }
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      showButton(form, false);
    }
  });
  document.querySelectorAll("form[data-upload]").forEach((form) => {
    form.addEventListener("submit", () => showButton(form, true));
    form.addEventListener("change", () => checkSize(form));
  });
})();
