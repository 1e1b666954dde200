// k8s-notification-source: changes of Kubernetes objects of one kind.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/source/notifications. A declaration: the
// pool's object watches no cluster. What llm-d takes from such events comes here with the endpoints,
// from the collectors' discovery.

import { z } from "zod";
import { ENDPOINT_EVENTS } from "../../data-layer/compile.ts";
import { defineDataSource } from "../../plugin.ts";

export const k8sNotificationSource = defineDataSource({
  type: "k8s-notification-source",
  params: z.strictObject({
    group: z.string().max(253).default("").describe("API group; empty for the core group"),
    version: z.string().min(1).max(63).describe("API version, e.g. v1"),
    kind: z.string().min(1).max(63).describe("Kind of object, e.g. Pod"),
  }),
  notes: ({ kind }) => [
    `No ${kind} is watched here: collectors say which endpoints there are, with their labels.`,
  ],
  create: () => ENDPOINT_EVENTS,
});
