// The Worker's copy of the deployment's switches.

import { DEFAULT_SETTINGS, type Settings, settingsSchema } from "../config/settings.ts";
import { type Reader, SharedCopy } from "./shared-copy.ts";

const copy = new SharedCopy<Settings>({
  freshMs: 10_000,
  usableMs: 60_000,
  keptMs: 60 * 60_000,
  deadlineMs: 2_000,
  retryMs: 5_000,
});

/**
 * The switches in force about ten seconds ago. Where they cannot be had the defaults stand in: a
 * broken switch must not stop what it switches.
 */
export async function readSettings(
  env: Env,
  waitUntil: Reader<Settings>["waitUntil"],
): Promise<Settings> {
  const read = async () => {
    const settings = settingsSchema.parse(await env.CONTROL.settings());
    return () => settings;
  };
  return (await copy.get({ read, waitUntil })) ?? DEFAULT_SETTINGS;
}

/** What `readSettings` would say, where it has nothing to wait for. */
export function freshSettings(): Settings | undefined {
  return copy.fresh(Date.now());
}

/** The next request of this isolate sees what was just written. */
export function forgetSettings(): void {
  copy.forget();
}
