// multicluster-approx-prefix-cache-producer: what clusters hold, as learned from where requests were
// sent, where each endpoint is a cluster.
//
//   as approx-prefix-cache-producer
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/approximateprefix/
// multicluster.go. A cluster's capacity is not known, so each counts as one endpoint's: of a large
// cluster too little is remembered, and none of it says on which endpoint there it is. Both of this type
// and of approx-prefix-cache-producer look into the one index of the pool where their capacity is its. O(blocks), no allocation.

import { defineDataProducer } from "../../plugin.ts";
import {
  approximateNotes,
  approximateParams,
  createApproximate,
} from "./approx-prefix-cache-producer.ts";

export const multiclusterApproxPrefixCacheProducer = defineDataProducer({
  type: "multicluster-approx-prefix-cache-producer",
  stability: "alpha",
  produces: ["prefix-match"],
  params: approximateParams,
  notes: approximateNotes,
  create: createApproximate,
});
