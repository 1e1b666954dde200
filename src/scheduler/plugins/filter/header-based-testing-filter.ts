// header-based-testing-filter: keep the endpoints that the request names; for conformance tests.
//
//   kept: the endpoints that header test-epp-endpoint-selection lists: `host` for every port of a
//   host, `host:port` for one, separated by commas      without the header: nobody
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/test/filter; the forms are those of
// subset.ts. llm-d returns the matches in the header's order, one a host: the order is without effect
// there, because every picker makes its own, and a second port of a host is lost. Here the order is the
// pool's, and each endpoint counts for itself. As in llm-d a request without the header is turned away.
// Not for pools that serve clients: whoever may send the header chooses. O(n × v) for v values.

import { z } from "zod";
import { keepCandidates } from "../../candidates.ts";
import { requestHeader } from "../../model/inference-request.ts";
import { defineFilter } from "../../plugin.ts";
import { createSubset } from "../../subset.ts";

const TESTING_HEADER = "test-epp-endpoint-selection";

export const headerBasedTestingFilter = defineFilter({
  type: "header-based-testing-filter",
  params: z.strictObject({}),
  requestHeaders: () => [TESTING_HEADER],
  notes: () => [
    `Requests choose their endpoint by the header ${TESTING_HEADER}, and those without it are turned away.`,
  ],
  create: () => ({
    filter(context) {
      const isNamed = createSubset(requestHeader(context.request, TESTING_HEADER) ?? []);
      return keepCandidates(context, ({ pool }, slot) => {
        const endpoint = pool.endpoint(slot);
        return endpoint !== undefined && isNamed(endpoint);
      });
    },
  }),
});
