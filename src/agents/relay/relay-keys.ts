// The HMAC keys a relay accepts: two, so that one can be rotated out while the other is in use.

import { createSecretKey, type KeyObject } from "node:crypto";
import { UsageError } from "../process/flags.ts";

export const RELAY_KEYS_ENV = "FAIRLEAD_RELAY_KEYS";
const RELAY_KEYS_MAX = 2;
/** As the configuration demands of the other side. */
const SECRET_CHARS_MIN = 16;

/** Keys by id. */
export type RelayKeys = ReadonlyMap<string, KeyObject>;

/** Parses `k1:secret[,k2:secret]`. Throws UsageError, without repeating any part of the text. */
export function parseRelayKeys(text: string): RelayKeys {
  const keys = new Map<string, KeyObject>();
  for (const entry of text.split(",")) {
    const colon = entry.indexOf(":");
    const id = entry.slice(0, Math.max(0, colon)).trim();
    const secret = entry.slice(colon + 1);
    if (id === "" || secret.length < SECRET_CHARS_MIN) {
      throw new UsageError(
        `${RELAY_KEYS_ENV} must be ID:SECRET[,ID:SECRET], each secret of at least ${SECRET_CHARS_MIN} characters.`,
      );
    }
    if (keys.has(id)) throw new UsageError(`${RELAY_KEYS_ENV} names one key id twice.`);
    keys.set(id, createSecretKey(Buffer.from(secret, "utf8")));
  }
  if (keys.size > RELAY_KEYS_MAX) {
    throw new UsageError(`${RELAY_KEYS_ENV} holds more than ${RELAY_KEYS_MAX} keys.`);
  }
  return keys;
}
