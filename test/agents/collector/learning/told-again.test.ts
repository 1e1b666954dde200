import { once } from "node:events";
import { Socket } from "node:net";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import {
  GONE_MS,
  TOLD_AGAIN_MS_MAX,
  ToldAgain,
} from "../../../../src/agents/collector/learning/told-again.ts";

let nowMs = 0;
let told: ToldAgain;
beforeEach(() => {
  nowMs = 0;
  told = new ToldAgain("life-1", () => nowMs);
});

function connected(): Socket {
  const socket = new Socket();
  onTestFinished(() => void socket.destroy());
  return socket;
}

async function close(socket: Socket): Promise<void> {
  socket.destroy();
  await once(socket, "close");
}

it("waits for a relay that lost its connection, but not for long", async () => {
  const socket = connected();
  told.arrive(socket, "", "life-1");
  await close(socket);
  nowMs += GONE_MS - 1;
  expect(told.isUnderWay).toBe(true);
  nowMs += 1;
  expect(told.isUnderWay).toBe(false);
});

it("waits so for one whose first message broke off", async () => {
  const socket = connected();
  await close(socket);
  told.arrive(socket, "", "life-1");
  expect(told.isUnderWay).toBe(true);
  nowMs += GONE_MS;
  expect(told.isUnderWay).toBe(false);
});

it("waits for none that had told all before it lost its connection, or says nothing", async () => {
  const [all, silent] = [connected(), connected()];
  told.arrive(all, "", "life-1");
  told.take(all, "life-1", "life-1");
  told.take(silent, undefined, "life-1");
  await Promise.all([close(all), close(silent)]);
  expect(told.isUnderWay).toBe(false);
});

it("waits until all was taken, not until it was sent", () => {
  const socket = connected();
  told.arrive(socket, "", "life-1");
  told.arrive(socket, "life-1", "life-1");
  expect(told.isUnderWay).toBe(true);
  told.take(socket, "life-1", "life-1");
  expect(told.isUnderWay).toBe(false);
});

it("does not wait for ever for one that never gets there, and anew in another life", () => {
  const socket = connected();
  told.arrive(socket, "", "life-1");
  nowMs = TOLD_AGAIN_MS_MAX - 1;
  expect(told.isUnderWay).toBe(true);
  nowMs += 1;
  expect(told.isUnderWay).toBe(false);
  told.arrive(socket, "life-1", "life-2");
  expect(told.isUnderWay).toBe(true);
  nowMs += TOLD_AGAIN_MS_MAX;
  expect(told.isUnderWay).toBe(false);
});
