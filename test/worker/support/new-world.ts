// After each file of tests inside workerd, which share one: no object is left of the file, nor its
// storage, nor a module's state, so that the next finds what it would in a workerd of its own.

// @ts-expect-error The part of cloudflare:test that does not import the whole Worker with it.
import { reset } from "cloudflare:test-internal";
import { afterAll, vi } from "vitest";

// Registered first, so it runs after whatever the file itself does at its end.
afterAll(async () => {
  await reset();
  vi.resetModules();
});
