import { describe, expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { createPlugin } from "../../support/plugins.ts";

describe("destination-endpoint-served-verifier", () => {
  it("names the address of whoever served, whichever profile chose it", () => {
    const header = createPlugin("destination-endpoint-served-verifier").responseHeaders![0]!;
    expect(header).toMatchObject({ name: "x-conformance-test-served-endpoint", profile: null });
    const endpoint = pickContext([{ address: "10.1.2.3:3000" }]).pool.endpoint(0)!;
    expect(header.valueOf(endpoint)).toBe("10.1.2.3:3000");
  });
});
