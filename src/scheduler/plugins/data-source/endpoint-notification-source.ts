// endpoint-notification-source: endpoints that come, change and go.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/source/notifications. Nothing has to be
// asked: every plugin that keeps something of an endpoint is told when it leaves, listed here or not.

import { z } from "zod";
import { ENDPOINT_EVENTS } from "../../data-layer/compile.ts";
import { defineDataSource } from "../../plugin.ts";

export const endpointNotificationSource = defineDataSource({
  type: "endpoint-notification-source",
  params: z.strictObject({}),
  create: () => ENDPOINT_EVENTS,
});
