import type { Flag } from "../../process/flags.ts";
import { parseListenAddress, type ListenAddress } from "../../process/listen.ts";

export const LEARN_FLAGS = {
  "learn-listen": learnListenFlag(),
} as const;

/** Null where it is absent. */
function learnListenFlag(): Flag<ListenAddress | null> {
  return {
    placeholder: "HOST:PORT",
    help: "where relays (--learn-to) tell what prompts' content became; nowhere if absent",
    fallback: null,
    parse(text) {
      const value = parseListenAddress(text);
      return value === undefined
        ? { ok: false, expected: "host:port, e.g. 10.0.0.7:9300 or [::1]:0" }
        : { ok: true, value };
    },
  };
}
