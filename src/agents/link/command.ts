// `node src/agents/main.ts link`: TCP links with a round-trip time, which can be cut.

import { MetricRegistry } from "../../telemetry/metrics.ts";
import { type AdminAnswer, startAdminServer } from "../process/admin-server.ts";
import { listenFlag, parseFlags, PROCESS_FLAGS } from "../process/flags.ts";
import { runAgent } from "../process/run-agent.ts";
import { Link } from "./link.ts";
import { linksFlag, parseOrder } from "./orders.ts";

const USAGE = {
  role: "link",
  summary:
    "The network between an edge and clusters, for runs on one machine: TCP links with a round-trip time.\n" +
    "POST /link at the admin port cuts one or changes it:\n" +
    '{"link": NAME, "rttMs": N, "jitterMs": N, "bytesPerSecond": N, "cut": "none|refuse|blackhole|reset", "forMs": N}',
  flags: {
    links: linksFlag,
    "admin-listen": listenFlag("where /link, /health and /metrics are served", "127.0.0.1:0"),
    ...PROCESS_FLAGS,
  },
} as const;

export async function run(args: string[]): Promise<void> {
  const flags = parseFlags(USAGE, args);
  await runAgent({ role: "link", ...flags }, async (logger) => {
    const registry = new MetricRegistry();
    const links = flags.links.map((spec) => new Link(spec, registry));
    const ports = await Promise.all(links.map((link) => link.open()));
    const admin = await startAdminServer({
      listen: flags["admin-listen"],
      registry,
      health: () => ({ isHealthy: true, detail: { links: links.length } }),
      orders: {
        path: "/link",
        take(body) {
          const answer = obey(links, body);
          logger.info({ status: answer.status, answer: answer.body }, "order");
          return answer;
        },
      },
    });
    return {
      ready: { ports, adminPort: admin.port },
      async close() {
        await Promise.all(links.map((link) => link.close()));
        await admin.close();
      },
    };
  });
}

/** Answers with the links as they are then. An order that is wrong changes none. */
function obey(links: readonly Link[], body: unknown): AdminAnswer {
  const order = parseOrder(body);
  if (!order.ok) return { status: 400, body: { error: order.message } };
  const { link: name, forMs, ...change } = order.value;
  const meant = links.filter((link) => name === undefined || link.state.name === name);
  if (meant.length === 0) {
    const names = links.map((link) => link.state.name).join(", ");
    return { status: 404, body: { error: `no such link; there are ${names}` } };
  }
  for (const link of meant) link.change(change, forMs);
  return { status: 200, body: { links: meant.map((link) => link.state) } };
}
