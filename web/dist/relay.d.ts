/**
 * Types of dollr-relay's page script (`/v1/relay.js`, global `DollrRelay`, and `/v1/relay.mjs`, module).
 * The messages are those of the relay's page protocol.
 */

/** What the relay knows of the payment. `final` says that it will not change on this page any more. */
export interface Status {
  type: "status";
  /** The payment's id at the relay, `pay_…`. */
  id: string;
  /** Grows with every committed change; a watch never shows a lower one than before. */
  version: number;
  /** Dollr's own word, null before its first answer. */
  status: string | null;
  outcome: Outcome;
  /** Read from Dollr's status API by the relay. False for a hint: show it, never act on it. */
  verified: boolean;
  final: boolean;
  /** How the relay learned of it: `realtime`, `poll`, `verify`, … */
  via: string;
  /** RFC 3339. */
  at: string;
}

export type Outcome = "pending" | "succeeded" | "failed" | "canceled" | "mismatch" | "expired";

/** How news travels now; `offline` is this page's own finding, the others are the relay's. */
export interface Link {
  type: "link";
  link: "live" | "polling" | "degraded" | "offline";
}

export interface WatchOptions {
  /**
   * The page token of the payment, or a function that brings one. The function is called at the start and again
   * whenever the relay refuses the token, so it should ask your backend for a fresh one.
   */
  token: string | (() => string | Promise<string>);
  /** The relay's public URL. Default: where the script came from. */
  url?: string;
  /** Aborting it closes the watch. */
  signal?: AbortSignal;
}

export interface WatchEvents {
  status: CustomEvent<Status>;
  link: CustomEvent<Link>;
}

/** A watched payment: "status" and "link" events until it is final or closed. */
export interface Watch extends EventTarget {
  /**
   * Resolves with the final status. Rejects with an `AbortError` when the watch is closed before, and with an `Error`
   * when the token is refused and `token` is no function that could bring another.
   */
  readonly final: Promise<Status>;
  close(): void;
  addEventListener<K extends keyof WatchEvents>(
    type: K,
    listener: (event: WatchEvents[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** Watches one payment. Reconnects by itself until the payment is final. */
export function watch(options: WatchOptions): Watch;

/**
 * `<dollr-status token="…" url="…" lang="fr">` shows a payment's state to people. It dispatches the events of its
 * {@link Watch}, and "token" when the relay refuses the token: set the attribute to a fresh one, or let the page be. While
 * fresh ones are refused, too, the event comes later and later.
 *
 * Attribute `state` tells the state shown: `waiting`, `confirming` (a hint, not yet verified), `succeeded`, `failed`,
 * `canceled`, `mismatch` or `expired`; `link` tells the connection. Both are for style sheets; so are the parts `box`,
 * `icon`, `title`, `note` and the property `--dollr-accent`.
 *
 * Attributes `text-<state>` replace its titles, and its notes: `text-slow` (not final after 60 s, `mismatch` and
 * `expired`: must say not to pay again), `text-offline` (no connection: must not sound like a failed payment) and
 * `text-degraded` (Dollr cannot be reached). A child with `slot="<state>"` replaces that state's icon; other
 * content is shown until the script has come, and if it does not.
 */
export interface DollrStatusElement extends HTMLElement {}

declare global {
  interface HTMLElementTagNameMap {
    "dollr-status": DollrStatusElement;
  }
  /** Only there when the classic script was loaded. */
  var DollrRelay: { watch: typeof watch };
}
