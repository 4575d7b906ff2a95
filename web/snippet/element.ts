import type { Status, Watch } from "./relay";
import { icons, style } from "./style";
import { languageOf, textOf } from "./texts";
import { watch } from "./watch";

type Attributes = Record<string, string>;

const change = (node: Element, attributes: Attributes) => {
  for (const name in attributes) node.setAttribute(name, attributes[name]!);
};
const make = (parent: ParentNode, tag: string, attributes: Attributes = {}, node: Element = document.createElement(tag)) => {
  change(node, attributes);
  parent.append(node);
  return node;
};
const svg = (tag: string) => document.createElementNS("http://www.w3.org/2000/svg", tag);
/** Writes only what differs: the same text again would be read out again. */
const write = (node: Element, text: string) => {
  if (node.textContent != text) node.textContent = text;
};

/** The box with its icon and words, and a function that fills it. */
const build = (root: ShadowRoot) => {
  try {
    const sheet = new CSSStyleSheet(); // allowed by any content security policy
    sheet.replaceSync(style);
    root.adoptedStyleSheets = [sheet];
  } catch {
    make(root, "style").textContent = style; // older Safari
  }
  const box = make(root, "div", { part: "box" });
  const iconSlot = make(box, "slot") as HTMLSlotElement;
  const icon = make(iconSlot, "svg", { part: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("svg"));
  const sign = make(icon, "path", {}, svg("path"));
  const words = make(box, "div");
  const title = make(words, "div", { part: "title" });
  const note = make(words, "div", { part: "note" });

  return (state: string, lang: string, say: (key: string) => string, notes: string[]) => {
    change(box, { lang, dir: lang == "ar" ? "rtl" : "ltr" });
    iconSlot.name = state;
    change(sign, { d: icons[state]! });
    write(title, say(state));
    write(note, notes.map(say).join(" "));
  };
};

/** Defines `<dollr-status>`, once. Where there is no document (a server rendering pages) it does nothing. */
export function define(home?: string) {
  if (!globalThis.customElements || customElements.get("dollr-status")) return;

  class StatusElement extends HTMLElement {
    static observedAttributes = ["token", "url", "lang"];
    declare close?: Watch["close"];
    declare final: Watch["final"];
    declare _status?: Status;
    declare _link?: string;
    declare _slow?: boolean;
    declare _timer: number;
    /** Milliseconds that a refused token was waited for. */
    declare _wait?: number;
    declare _fill: ReturnType<typeof build>;

    constructor() {
      super();
      this._fill = build(this.attachShadow({ mode: "open" }));
      this.addEventListener("status", (e) => {
        this._status = (e as CustomEvent).detail;
        this._show();
      });
      this.addEventListener("link", (e) => {
        this._link = (e as CustomEvent).detail.link;
        this._show();
      });
    }

    connectedCallback() {
      this._start();
    }
    disconnectedCallback() {
      this._start();
    }
    attributeChangedCallback(name: string) {
      name == "lang" ? this._show() : this._start();
    }

    /** Starts over, once for all changes of one task: attributes, insertion, a move in the document. */
    _start() {
      clearTimeout(this._timer);
      this._timer = setTimeout(() => {
        this.close?.();
        this._slow = this._status = this._link = undefined;
        const token = this.getAttribute("token");
        if (token && this.isConnected) {
          watch(home, { token, url: this.getAttribute("url")! }, this);
          this.final.catch((e) => {
            // A token that was good until now is asked for at once, one that never was later and later.
            if (/token/.test(e))
              setTimeout(() => this.dispatchEvent(new Event("token")), (this._wait = this._status ? 0 : this._wait! + 1e3 || 0));
          });
          this._timer = setTimeout(() => {
            this._slow = true;
            this._show();
          }, 6e4);
        }
        this._show();
      });
    }

    _show() {
      const { outcome = "pending", final } = this._status || {};
      // A hint is never shown as an outcome, whatever it claims.
      const state = outcome == "pending" ? "waiting" : final && icons[outcome] ? outcome : "confirming";
      const link = this._link || "";
      const language = languageOf(this.closest<HTMLElement>("[lang]")?.lang || navigator.language);
      const notes: string[] = [];
      if (final ? state == "mismatch" || state == "expired" : this._slow) notes.push("slow");
      if (!final && (link == "offline" || link == "degraded")) notes.push(link);
      change(this, { state, link, role: "status" });
      this._fill(state, language, (key) => this.getAttribute("text-" + key) ?? textOf(language, key), notes);
    }
  }
  customElements.define("dollr-status", StatusElement);
}
