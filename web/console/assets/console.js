// Keeps the page true without reloading it: the server renders the living part anew and sends it whenever it has changed; here
// it is patched into the page, so that focus, selection, scrolling and opened details stay. Without script the page works,
// as of the moment at which it was loaded.
const main = document.getElementById("main");
const said = document.getElementById("said");
const pulse = document.getElementById("pulse");
let source;
let busy = false; // a form is under way: what arrives meanwhile waits
let waiting = "";

function beat(state, word) {
  pulse.hidden = false;
  pulse.dataset.state = state;
  document.getElementById("pulse-word").textContent = word;
}

/** Makes one node like another, touching only what differs. */
function patch(old, fresh) {
  if (old.nodeType != Node.ELEMENT_NODE) {
    if (old.data != fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // Details that a person has opened stay open.
    if (!fresh.hasAttribute(name) && !(name == "open" && old.localName == "details") && name != "data-arrived") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) != value) old.setAttribute(name, value);
  }
  patchChildren(old, fresh);
}

const alike = (a, b) => a.nodeName == b.nodeName && a.dataset?.key == b.dataset?.key;

function patchChildren(old, fresh) {
  let at = old.firstChild;
  for (const node of [...fresh.childNodes]) {
    let match = at;
    if (!at || !alike(at, node)) {
      const key = node.dataset?.key;
      match = key ? [...old.children].find((child) => alike(child, node)) : undefined;
    }
    if (match) {
      if (match != at) old.insertBefore(match, at);
      patch(match, node);
      at = match.nextSibling;
    } else {
      if (node.dataset?.key && old.children.length) node.dataset.arrived = "";
      old.insertBefore(node, at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function swap(html) {
  if (busy) {
    waiting = html;
    return;
  }
  const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("living");
  if (!fresh) return;
  const living = document.getElementById("living");
  const news = living.dataset.tone != fresh.dataset.tone;
  patch(living, fresh);
  document.title = `${fresh.dataset.title} · dollr-relay`;
  if (news) {
    document.getElementById("icon").href = `/assets/icon-${fresh.dataset.tone}.svg`;
    document.getElementById("news").textContent = fresh.dataset.headline;
  }
}

function say(text, tone) {
  said.textContent = text;
  said.dataset.tone = tone;
}

function follow() {
  source?.close();
  if (!document.body.dataset.live) return;
  source = new EventSource(document.body.dataset.live);
  source.addEventListener("open", () => beat("live", "live"));
  source.addEventListener("page", (event) => {
    beat("live", "live");
    swap(event.data);
  });
  source.addEventListener("error", () => {
    beat("lost", "connection lost");
    if (source.readyState == EventSource.CLOSED) setTimeout(follow, 5000); // refused; a lost one is opened again by itself
  });
}

// A page that nobody sees costs nothing.
document.addEventListener("visibilitychange", () => (document.hidden ? source?.close() : follow()));
addEventListener("pageshow", (event) => event.persisted && follow());
addEventListener("pagehide", () => source?.close());

// Buttons do what they do without script, and leave the page where it is.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.method != "post" || busy) return busy && event.preventDefault();
  event.preventDefault();
  busy = true;
  form.dataset.busy = "";
  const button = form.querySelector("button");
  say(button.dataset.busy || "", "calm");
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const told = fresh.getElementById("said");
    if (answer.ok) say(told?.textContent || "Done.", told?.dataset.tone || "good");
    else say(fresh.querySelector("#living section p")?.textContent || `Not done: ${answer.status}.`, "bad");
  } catch {
    say("The relay does not answer. It is not known whether it was done.", "bad");
  }
  delete form.dataset.busy;
  busy = false;
  if (waiting) swap(waiting);
  waiting = "";
});

document.addEventListener("keydown", (event) => {
  if (event.key != "/" || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  event.preventDefault();
  document.getElementById("q").select();
});

// What a button said stays until the next one, not until the next reload.
if (location.search.includes("done=")) {
  const address = new URL(location.href);
  address.searchParams.delete("done");
  history.replaceState(null, "", address);
  document.body.dataset.live = "/live" + address.pathname + address.search;
}
follow();
