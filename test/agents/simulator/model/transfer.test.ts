import { describe, expect, it } from "vitest";
import {
  TransferLink,
  transferMsPerToken,
} from "../../../../src/agents/simulator/model/transfer.ts";

describe("a transfer", () => {
  it("takes its latency and its tokens", () => {
    const link = new TransferLink({ latencyMs: 2, msPerToken: 0.5, handshakeMs: 0 });
    expect(link.begin("a", 100, 10)).toBe(62);
  });

  it("waits for the link, but not to set up", () => {
    const link = new TransferLink({ latencyMs: 2, msPerToken: 0.5, handshakeMs: 0 });
    link.begin("a", 100, 0);
    expect(link.begin("b", 100, 0)).toBe(102);
    expect(link.begin("b", 10, 200)).toBe(207);
  });

  it("takes longer at a first contact", () => {
    const link = new TransferLink({ latencyMs: 0, msPerToken: 1, handshakeMs: 5_000 });
    expect(link.begin("a", 1, 0)).toBe(5_001);
    expect(link.begin("a", 1, 6_000)).toBe(6_001);
    expect(link.begin("b", 1, 7_000)).toBe(12_001);
  });

  it("takes a Llama-8B token 3.3 µs over 400 Gbit/s InfiniBand", () => {
    expect(transferMsPerToken(131_072, 40)).toBeCloseTo(0.003_28, 5);
  });
});
