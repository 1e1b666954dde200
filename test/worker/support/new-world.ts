// After each file of tests inside workerd, which share one: no object is left of the file, nor its
// storage, nor a module's state, so that the next finds what it would in a workerd of its own.

import { reset } from "cloudflare:test";
import { afterAll, vi } from "vitest";

// Registered first, so it runs after whatever the file itself does at its end.
afterAll(async () => {
  await reset();
  vi.resetModules();
});
