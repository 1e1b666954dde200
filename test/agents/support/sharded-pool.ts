// A pool of several objects, each a FakePoolObject, behind one address as Fairlead's.

import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import type { Configure } from "../../../src/agents/protocol/messages.ts";
import { FakePoolObject } from "./pool-object.ts";

export class ShardedPool {
  readonly objects: readonly FakePoolObject[];
  readonly #server = createServer();
  readonly #sockets = new Set<Socket>();

  private constructor(objects: readonly FakePoolObject[]) {
    this.objects = objects;
  }

  static async start(count: number): Promise<ShardedPool> {
    const objects = await Promise.all(Array.from({ length: count }, () => FakePoolObject.start()));
    const pool = new ShardedPool(objects);
    pool.#server.on("upgrade", (request, socket, head) =>
      pool.#pass(request, socket as Socket, head),
    );
    pool.#server.listen(0, "127.0.0.1");
    await once(pool.#server, "listening");
    return pool;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  async close(): Promise<void> {
    await Promise.all(this.objects.map((object) => object.close()));
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #pass(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const shard = new URL(request.url!, this.url).searchParams.get("shard") ?? "0";
    const object = this.objects[Number(shard)];
    if (object === undefined) {
      socket.end("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
      return;
    }
    const onward = connect(Number(object.url.port), "127.0.0.1");
    const fields = request.rawHeaders.flatMap((name, at, all) =>
      at % 2 === 0 ? [`${name}: ${all[at + 1]}\r\n`] : [],
    );
    onward.write(`GET ${request.url} HTTP/1.1\r\n${fields.join("")}\r\n`);
    onward.write(head);
    for (const [from, to] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      this.#sockets.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  }
}

/** What an object says of the pool it is one of. */
export function configureOf(
  shards: { count: number; version?: number; splits?: [number, number, number][] } | undefined,
  index = 0,
): Configure {
  const configure = { t: "configure" as const, scrapeIntervalMs: 50, metrics: [] };
  if (shards === undefined) return configure;
  return { ...configure, shards: { index, version: 0, splits: [], ...shards } };
}
