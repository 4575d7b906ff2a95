// The order's page: plays the forms without reloading and shows what the shop's backend knows. The payment's state on the
// phone is none of this script's business: <dollr-status> gets that from the relay.
"use strict";

const number = document.body.dataset.order;
const one = (id) => document.getElementById(id);

const states = {
  awaiting: "Awaiting payment",
  fulfilled: "Fulfilled",
  unpaid: "Not paid",
  review: "Needs a look",
};
const links = {
  live: "live",
  polling: "polling",
  degraded: "Dollr unreachable",
  offline: "page offline",
};

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour12: false, hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
}

/** Pretty JSON with keys and values told apart. */
function json(value) {
  const box = make("pre", "json");
  box.tabIndex = 0; // can be scrolled by keyboard
  const text = JSON.stringify(value, null, 2);
  const pattern = /("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
  let last = 0;
  for (const match of text.matchAll(pattern)) {
    box.append(text.slice(last, match.index));
    const kind = match[2] ? "key" : match[1] ? "text" : "value";
    box.append(make("span", kind, match[1] || match[0]), match[2] || "");
    last = match.index + match[0].length;
  }
  box.append(text.slice(last));
  return box;
}

function callback(d) {
  const item = make("article", "callback");
  item.id = d.id;
  const head = make("div", "head");
  head.append(make("strong", "", d.type), make("span", "seal", "signature verified"));
  const headers = make("dl", "headers");
  for (const { name, value } of d.headers) headers.append(make("dt", "", name), make("dd", "", value));
  item.append(head, make("p", "quiet", ""), headers, json(d.body));
  return item;
}

function showCallbacks(list) {
  one("no-callbacks").hidden = list.length > 0;
  for (const d of list) {
    let item = one(d.id);
    if (!item) one("callbacks").prepend((item = callback(d)));
    const times = d.times > 1 ? `, came ${d.times} times and counted once` : "";
    item.querySelector(".quiet").textContent = `received ${clock(d.at)}${times}`;
  }
}

const ways = {
  register: "registered",
  realtime: "hint from realtime",
  poll: "asked Dollr (poll)",
  audit: "asked Dollr (audit)",
  verify: "asked Dollr",
  reconcile: "asked Dollr (sweep)",
  callback: "callback",
  clock: "clock",
  operator: "operator",
};

function showTimeline(entries) {
  const list = one("timeline");
  if (list.childElementCount == entries.length) return;
  const text = (v) => (typeof v == "string" ? v : v ? JSON.stringify(v) : "");
  list.replaceChildren(
    ...entries.map((e) => {
      const item = make("li");
      item.dataset.via = e.via;
      item.dataset.outcome = e.outcome || "";
      const what = make("div");
      what.append(make("strong", "", ways[e.via] || e.via));
      if (e.status) what.append(" ", make("code", "", e.status));
      if (e.outcome && e.via != "realtime" && e.via != "callback") what.append(" → " + e.outcome);
      if (e.detail) what.append(make("span", "quiet", text(e.detail)));
      item.append(make("time", "", clock(e.at)), what);
      return item;
    }),
  );
}

function showWeather(weather) {
  for (const button of document.querySelectorAll("[data-fault]")) {
    const down = weather[button.dataset.fault];
    button.textContent = down ? button.dataset.mend : button.dataset.break;
    button.name = down ? "mend" : "break";
    button.setAttribute("aria-pressed", down);
  }
  const words = [];
  if (weather.realtime_down) words.push("Realtime is cut: the relay asks Dollr every few seconds instead.");
  if (weather.dollr_down) words.push("Dollr answers nothing but errors: nobody can know yet, so nobody says so.");
  const forecast = document.querySelector(".forecast");
  if (forecast.textContent != words.join(" ")) forecast.textContent = words.join(" ");
}

function show(order) {
  document.body.dataset.state = order.state;
  one("state").textContent = states[order.state];
  showCallbacks(order.callbacks || []);
  showTimeline(order.timeline || []);
  showWeather(order.weather);
}

one("state").textContent = states[document.body.dataset.state];
new EventSource(`/demo/orders/${number}/events`).onmessage = (e) => show(JSON.parse(e.data));

document.querySelector("dollr-status").addEventListener("link", (e) => {
  one("link").textContent = links[e.detail.link];
  one("link").dataset.link = e.detail.link;
});

for (const form of document.querySelectorAll("form.play")) {
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    const { submitter } = e;
    submitter.disabled = true;
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form, submitter)) }).catch(() => null);
    submitter.disabled = false;
    submitter.focus();
    if (!answer?.ok) document.querySelector(".forecast").textContent = "That did not work; is the demo still running?";
  });
}
