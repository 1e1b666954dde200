// Pools as the choice among them is to know them, from the configuration.

import type { Deployment, PoolConfig } from "../../config/deployment.ts";
import type { PoolDescription } from "../../scheduler/pools/contracts.ts";

const USD_PER_M_TO_PER_1K = 1 / 1_000;

/** `isDrained` is not theirs to say: operators drain pools between configurations. */
export function describePool(
  pool: PoolConfig,
  { msPerUsd }: Pick<Deployment["routing"], "msPerUsd">,
): PoolDescription {
  const { name, region, jurisdiction, failoverTier, rttMs, extraMs, price, upstreams } = pool;
  const msPer1k = (usdPerMTokens: number) => usdPerMTokens * USD_PER_M_TO_PER_1K * msPerUsd;
  // A pool of one upstream is that upstream.
  const [upstream] = upstreams.length === 1 ? upstreams : [];
  return {
    name,
    region,
    failoverTier,
    isDrained: false,
    rttMs,
    extraMs,
    inputMsPer1kTokens: msPer1k(price?.inputUsdPerMTokens ?? 0),
    outputMsPer1kTokens: msPer1k(price?.outputUsdPerMTokens ?? 0),
    labels: {
      ...upstream?.labels,
      region,
      ...(jurisdiction === undefined ? {} : { jurisdiction }),
    },
  };
}
