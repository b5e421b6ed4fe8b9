// Keeps a page up to date: every fact that it shows comes again with each event.

const connection = document.getElementById("connection");
const STALE_AFTER_MS = 10_000;
let lastEvent = 0;

function connected(text, state) {
  if (connection.textContent !== text) connection.textContent = text;
  connection.dataset.state = state;
}

function show(fact) {
  for (const place of document.querySelectorAll(`[data-fact="${CSS.escape(fact.key)}"]`)) {
    if (place.textContent !== fact.text) place.textContent = fact.text;
    place.dataset.state = fact.state;
  }
}

function follow() {
  const events = new EventSource("/api/v1/events");
  events.addEventListener("open", () => {
    document.dispatchEvent(new CustomEvent("lockstep:open"));
  });
  events.addEventListener("look", (event) => {
    lastEvent = Date.now();
    connected("live", "good");
    const look = JSON.parse(event.data);
    look.facts.forEach(show);
    document.dispatchEvent(new CustomEvent("lockstep:look", { detail: look }));
  });
  events.addEventListener("error", () => {
    connected("disconnected, retrying", "bad");
    // A stream that was refused is not tried again by the browser itself.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 5_000);
  });
  return events;
}

setInterval(() => {
  if (lastEvent && Date.now() - lastEvent > STALE_AFTER_MS && connection.dataset.state === "good") {
    connected("no news for a while", "warn");
  }
}, 1_000);

// Moments also in the reader's own time.
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.valueOf())) time.title = at.toLocaleString();
}

// What goes on by itself is looked at again.
const waiting = document.querySelector("[data-reload]");
if (waiting) setTimeout(() => location.reload(), Number(waiting.dataset.reload) * 1_000);

// A second click while the first is answered would only be told that it is under way.
for (const form of document.querySelectorAll("form.action")) {
  form.addEventListener("submit", () => {
    for (const button of form.querySelectorAll("button")) {
      button.disabled = true;
    }
  });
}
// Coming back to a page that the browser kept, they work again.
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("form.action button[disabled]:not([data-off])")) {
    button.disabled = false;
  }
});

follow();
