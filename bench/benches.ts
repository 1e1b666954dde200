// Every benchmark by the name it is run and printed under.

import type { Bench } from "./command.ts";
import { CHOOSING_NAME, measureChoosing } from "./choosing.ts";
import { measureDecision } from "./decision.ts";
import { DIGEST_NAME, measureDigest } from "./digest.ts";
import { DISAGGREGATION_NAME, measureDisaggregation } from "./disaggregation.ts";
import { FAILOVER_NAME, measureFailover } from "./failover.ts";
import { FLOW_CONTROL_NAME, measureFlowControl } from "./flow-control.ts";
import { HELD_NAME, measureHeldRequest } from "./held-request.ts";
import { KV_ACCURACY_NAME, measureKvAccuracy } from "./kv-accuracy.ts";
import { KV_EVENT_DECODING_NAME, measureKvEventDecoding } from "./kv-event-decoding.ts";
import { KV_STREAM_NAME, measureKvIngest, measureKvMemory } from "./kv-stream/ingest.ts";
import { KV_SOCKET_NAME, measureKvSocket } from "./kv-stream/socket.ts";
import { measurePairDigest, PAIR_DIGEST_NAME } from "./pair-digest.ts";
import { measurePick } from "./pick.ts";
import { measureObjectRestart, RESTART_NAME } from "./object-restart.ts";
import { measurePrefixTree, PREFIX_TREE_NAME } from "./prefix-tree.ts";
import { measureProxy, PROXY_NAMES } from "./proxy.ts";
import { measureQueue, QUEUE_NAME } from "./queue.ts";
import { measureQueueDrain, QUEUE_DRAIN_NAME } from "./queue/drain.ts";
import { measureRelay, RELAY_NAME } from "./relay.ts";
import { measureResidency, RESIDENCY_NAME } from "./residency.ts";
import { measureShards, SHARDS_NAME } from "./shards.ts";
import { LOCAL_NAME, measureLocal, measureWays, WAYS_NAME } from "./ways.ts";
import { measureTokenKeys, TOKEN_KEYS_NAME } from "./token-keys.ts";

export const BENCHES: readonly Bench[] = [
  ...PROXY_NAMES.map((name) => ({ name, needsProc: true, measure: () => measureProxy(name) })),
  { name: CHOOSING_NAME, needsProc: true, measure: () => measureChoosing() },
  { name: SHARDS_NAME, needsProc: true, measure: () => measureShards() },
  { name: LOCAL_NAME, needsProc: true, measure: () => measureLocal() },
  { name: WAYS_NAME, needsProc: true, measure: () => measureWays() },
  ...[1, 10, 100].map((thousands) => ({
    name: `decision-${thousands}k-tokens`,
    needsProc: false,
    measure: () => measureDecision(thousands * 1_000),
  })),
  ...[64, 1_000].map((endpoints) => ({
    name: `pick-${endpoints}`,
    needsProc: false,
    measure: () => measurePick(endpoints),
  })),
  { name: RELAY_NAME, needsProc: true, measure: () => measureRelay() },
  { name: DISAGGREGATION_NAME, needsProc: false, measure: () => measureDisaggregation() },
  { name: PREFIX_TREE_NAME, needsProc: false, measure: () => measurePrefixTree() },
  { name: DIGEST_NAME, needsProc: false, measure: () => measureDigest() },
  { name: PAIR_DIGEST_NAME, needsProc: false, measure: () => measurePairDigest() },
  { name: FLOW_CONTROL_NAME, needsProc: false, measure: () => measureFlowControl() },
  { name: QUEUE_DRAIN_NAME, needsProc: false, measure: () => measureQueueDrain() },
  { name: KV_EVENT_DECODING_NAME, needsProc: false, measure: () => measureKvEventDecoding() },
  { name: RESIDENCY_NAME, needsProc: false, measure: () => measureResidency() },
  { name: KV_STREAM_NAME, needsProc: false, measure: measureKvStream },
  { name: KV_SOCKET_NAME, needsProc: true, measure: () => measureKvSocket() },
  { name: KV_ACCURACY_NAME, needsProc: false, measure: () => measureKvAccuracy() },
  { name: TOKEN_KEYS_NAME, needsProc: false, measure: () => measureTokenKeys() },
  { name: RESTART_NAME, needsProc: false, measure: () => measureObjectRestart() },
  { name: FAILOVER_NAME, needsProc: false, measure: () => measureFailover() },
  { name: HELD_NAME, needsProc: true, measure: () => measureHeldRequest() },
  { name: QUEUE_NAME, needsProc: true, measure: () => measureQueue() },
];

async function* measureKvStream() {
  yield* measureKvIngest();
  yield* measureKvMemory();
}
