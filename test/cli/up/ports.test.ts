import { createServer } from "node:net";
import { expect, it } from "vitest";
import { findFreePort, requireFreePort } from "../../../src/cli/up/ports.ts";

const HOST = "127.0.0.1";

it("finds ports that systems do not give to outgoing connections", async () => {
  for (let i = 0; i < 20; i++) {
    const port = await findFreePort(HOST);
    expect(port).toBeGreaterThanOrEqual(16_384);
    expect(port).toBeLessThan(32_768);
    await requireFreePort(HOST, port);
  }
});

it("says that a port is taken", async () => {
  const port = await findFreePort(HOST);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, HOST, resolve));
  try {
    await expect(requireFreePort(HOST, port)).rejects.toThrow(`Port ${port} is taken`);
  } finally {
    server.close();
  }
});
