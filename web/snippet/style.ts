/**
 * The element's look. Text takes the page's colour and the accents have at least 3:1 on white and on black, so that it
 * fits light and dark pages alike; a page sets `--dollr-accent` (for each `[state]`) and styles the parts.
 */
export const style =
  ":host(:not([hidden])){display:block;--a:#777}" +
  ":host([state=confirming]){--a:#37f}" +
  ":host([state=succeeded]){--a:#194}" +
  ":host([state=failed]){--a:#e44}" +
  ":host([state=mismatch]),:host([state=expired]){--a:#c70}" +
  "[part=box]{--c:var(--dollr-accent,var(--a));display:flex;align-items:center;gap:1em;padding:1em;border:1px solid var(--c);border-radius:1em;background:color-mix(in srgb,var(--c) 8%,#0000)}" +
  "[part=title]{font-weight:600}" +
  "[part=note]{font-size:.9em}" +
  "svg{flex:none;width:2em;fill:none;stroke:var(--c);stroke-width:2;stroke-linecap:round}" +
  "@media(prefers-reduced-motion:no-preference){" +
  ":host([state=confirming]) svg{animation:a 1s linear infinite}" +
  ":host([state=waiting]) svg{animation:b 2s infinite}" +
  "}@keyframes a{to{transform:rotate(1turn)}}@keyframes b{50%{opacity:.5}}";

const ring = "M12 2a10 10 0 1 0 .01 0z";

/** A sign for each state: colour is never the only difference. */
export const icons: Record<string, string> = {
  waiting: ring + "M12 7v5l3 2",
  confirming: "M12 2a10 10 0 1 0 10 10",
  succeeded: ring + "M8 12l3 3 5-6",
  failed: ring + "M9 9l6 6m0-6l-6 6",
  canceled: ring + "M8 12h8",
  mismatch: ring + "M12 7v6m0 4h0",
  expired: ring + "M10 10a2 2 0 1 1 2 3m0 4h0",
};
