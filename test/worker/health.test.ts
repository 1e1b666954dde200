import { expect, it } from "vitest";
import { send } from "./support/deployment.ts";

it("answers while the directory can be read", async () => {
  const response = await send("/health");
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({ status: "ok", directory: "ok" });
});
