import { expect, it } from "vitest";
import { requestHeader } from "../../../src/scheduler/model/inference-request.ts";

it("finds a header that the request has, and no member of objects", () => {
  const request = { headers: { "x-session-id": "s1" } };
  expect(requestHeader(request, "x-session-id")).toBe("s1");
  expect(requestHeader(request, "x-other")).toBeUndefined();
  expect(requestHeader(request, "constructor")).toBeUndefined();
  expect(requestHeader({}, "x-session-id")).toBeUndefined();
});
