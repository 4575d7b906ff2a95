import { define } from "./element";
import type { Watch, WatchOptions } from "./relay";
import { watch as start } from "./watch";

export const watch = (options: WatchOptions): Watch => start(import.meta.url, options);
define(import.meta.url);
