// destination-endpoint-served-verifier: names the endpoint that served, on every answer.
//
//   x-conformance-test-served-endpoint: host:port
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/test; the Gateway API inference extension's
// conformance tests look for the header. It tells clients addresses inside the cluster: for tests only.
// O(1).

import { z } from "zod";
import { defineRequestHeader } from "../../plugin.ts";

export const destinationEndpointServedVerifier = defineRequestHeader({
  type: "destination-endpoint-served-verifier",
  params: z.strictObject({}),
  notes: () => ["Clients are told endpoints' addresses: this plugin is for conformance tests."],
  create: () => ({
    responseHeaders: [
      {
        name: "x-conformance-test-served-endpoint",
        profile: null,
        valueOf: ({ address }) => address,
      },
    ],
  }),
});
