import { describe, expect, it } from "vitest";
import { loadSchedulerConfig } from "../../../../src/scheduler/config/load.ts";

describe("request-attribute-reporter", () => {
  it("is refused with the reason, where llm-d would take it", () => {
    const parameters = {
      attributes: [{ key: { name: "tokens" }, expression: "usage.total_tokens" }],
    };
    const { config, issues } = loadSchedulerConfig({
      plugins: [{ type: "request-attribute-reporter", parameters }],
    });
    expect(config).toBeUndefined();
    expect(JSON.stringify(issues)).toContain("reports to Envoy");
  });
});
