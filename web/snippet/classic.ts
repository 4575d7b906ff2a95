import { define } from "./element";
import type { WatchOptions } from "./relay";
import { watch } from "./watch";

const home = (document.currentScript as HTMLScriptElement | null)?.src;

globalThis.DollrRelay = { watch: (options: WatchOptions) => watch(home, options) };
define(home);
