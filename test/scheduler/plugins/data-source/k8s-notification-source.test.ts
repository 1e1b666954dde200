import { expect, it } from "vitest";
import { k8sNotificationSource } from "../../../../src/scheduler/plugins/data-source/k8s-notification-source.ts";
import { mistakesOf, sourceOf } from "../../support/data-layer.ts";

const POD = { version: "v1", kind: "Pod" };

it("stands for events, and says that no object is watched", () => {
  expect(sourceOf(k8sNotificationSource, POD)).toEqual({ payload: "events", target: null });
  const params = k8sNotificationSource.params.parse(POD);
  expect(k8sNotificationSource.notes!(params)).toEqual([
    expect.stringMatching(/No Pod is watched/),
  ]);
});

it("needs a version and a kind", () => {
  expect(mistakesOf(k8sNotificationSource, {}).map(([path]) => path)).toEqual(["version", "kind"]);
  expect(mistakesOf(k8sNotificationSource, { ...POD, group: "apps" })).toEqual([]);
});
