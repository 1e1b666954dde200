import { expect, it } from "vitest";
import { endpointNotificationSource } from "../../../../src/scheduler/plugins/data-source/endpoint-notification-source.ts";
import { mistakesOf, sourceOf } from "../../support/data-layer.ts";

it("stands for events, and asks nobody", () => {
  expect(sourceOf(endpointNotificationSource)).toEqual({ payload: "events", target: null });
  expect(mistakesOf(endpointNotificationSource, { interval: "1s" })).toHaveLength(1);
});
