"use strict";
// Follows the agent by server-sent events: shows the status as it comes, and replaces the report when there is a new
// one, without closing what the reader has opened or moving the focus.
(() => {
  const byId = (id) => document.getElementById(id);
  const [state, pause, moment, content] = ["state", "pause", "moment", "content"].map(byId);
  let shown = content.dataset.version;
  let newest = shown;
  let isPaused = false;
  let isFetching = false;

  const details = () => [...content.querySelectorAll("details[data-key]")];

  function replace(html) {
    const open = new Map(details().map((it) => [it.dataset.key, it.open]));
    const focused = document.activeElement?.closest("#content details[data-key]")?.dataset.key;
    content.innerHTML = html;
    for (const it of details()) {
      if (open.has(it.dataset.key)) it.open = open.get(it.dataset.key);
      if (it.dataset.key === focused) it.querySelector("summary").focus({ preventScroll: true });
    }
  }

  async function renew() {
    // Text that somebody has selected stays, until the next event.
    if (isPaused || isFetching || newest === shown || getSelection().toString()) return;
    isFetching = true;
    try {
      const answer = await fetch("content");
      if (answer.ok) {
        const html = await answer.text();
        replace(html);
        shown = answer.headers.get("tlswhy-version");
      }
    } catch {
      // The events' own connection says that the agent is away.
    }
    isFetching = false;
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    state.textContent = isPaused ? "Paused." : "Live.";
    renew();
  });

  const events = new EventSource("events");
  events.addEventListener("open", () => {
    if (!isPaused) state.textContent = "Live.";
  });
  events.addEventListener("error", () => {
    state.textContent = "No connection to the agent; trying again.";
  });
  events.addEventListener("moment", (event) => {
    if (!isPaused && !getSelection().toString()) moment.innerHTML = event.data;
    renew();
  });
  events.addEventListener("page", (event) => {
    newest = event.data;
    renew();
  });
})();
