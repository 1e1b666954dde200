import { describe, expect, it } from "vitest";
import { ModelsLedger } from "../../../src/agents/collector/models-ledger.ts";
import { FRAME_HEADER_BYTES } from "../../../src/agents/protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import { modelsSchema } from "../../../src/agents/protocol/messages.ts";

const lora = (active: string[], waiting: string[] = []) => ({ active, waiting, max: 4 });

function ledger(count = 2): ModelsLedger {
  const made = new ModelsLedger();
  made.reset(count);
  return made;
}

/** Takes every frame there is, as a session does that can send. */
function sendAll(models: ModelsLedger): unknown[] {
  const payloads: unknown[] = [];
  for (let frame = models.frame(); frame !== undefined; frame = models.frame()) {
    payloads.push(frame.payload);
    frame.confirm();
  }
  return payloads;
}

describe("ModelsLedger", () => {
  it("says each name once a frame", () => {
    const models = ledger();
    models.lora(0, lora(["sql"], ["law"]));
    models.lora(1, lora(["law"]));
    models.models(1, ["base", "law"]);
    expect(sendAll(models)).toEqual([
      {
        names: ["sql", "law", "base"],
        endpoints: [
          { endpoint: 0, lora: { active: [0], waiting: [1], max: 4 } },
          { endpoint: 1, lora: { active: [1], waiting: [], max: 4 }, models: [2, 1] },
        ],
      },
    ]);
  });

  it("says only what changed, and everything to an object that forgot", () => {
    const models = ledger();
    models.lora(0, lora(["sql"]));
    models.lora(1, lora([]));
    expect(sendAll(models)).toHaveLength(1);
    models.lora(0, lora(["sql"]));
    expect(sendAll(models)).toEqual([]);
    models.lora(0, lora([]));
    expect(sendAll(models)).toMatchObject([{ endpoints: [{ endpoint: 0 }] }]);
    models.forgetSent();
    expect(sendAll(models)).toMatchObject([{ endpoints: [{ endpoint: 0 }, { endpoint: 1 }] }]);
  });

  it("says the same adapters again of an engine that is a new process, once it names them", () => {
    const models = ledger();
    models.lora(0, lora(["sql"]));
    models.lora(1, lora(["law"]));
    models.models(1, ["base"]);
    sendAll(models);
    models.engineRestarted(0);
    models.engineRestarted(1);
    // The object keeps the list of models, and must not get the adapters of the old process back.
    expect(sendAll(models)).toEqual([
      { names: ["base"], endpoints: [{ endpoint: 1, models: [0] }] },
    ]);
    models.lora(0, lora(["sql"]));
    expect(sendAll(models)).toMatchObject([{ names: ["sql"], endpoints: [{ endpoint: 0 }] }]);
  });

  it("keeps what could not be sent", () => {
    const models = ledger();
    models.lora(0, lora(["sql"]));
    expect(models.frame()).toBeDefined();
    expect(sendAll(models)).toHaveLength(1);
  });

  it("ignores an endpoint that is gone", () => {
    const models = ledger(1);
    models.lora(1, lora(["sql"]));
    models.models(1, ["m"]);
    expect(sendAll(models)).toEqual([]);
  });

  it("splits what is too much for a frame, and loses nothing", () => {
    const { endpointsMax, modelsPerEndpointMax, labelCharsMax, frameBytesMax } = PROTOCOL_LIMITS;
    const models = ledger(endpointsMax);
    // The longest names, of the characters that JSON and UTF-8 make longest.
    const names = (endpoint: number, kind: string) =>
      Array.from({ length: modelsPerEndpointMax }, (_, i) =>
        `${kind}${endpoint}-${i}`.padEnd(labelCharsMax, "\u0001"),
      );
    for (let endpoint = 0; endpoint < 40; endpoint++) {
      models.lora(endpoint, lora(names(endpoint, "a"), names(endpoint, "w")));
      models.models(endpoint, names(endpoint, "m"));
    }
    for (let endpoint = 40; endpoint < endpointsMax; endpoint++) {
      models.lora(endpoint, lora([`e${endpoint}`]));
    }
    const payloads = sendAll(models);
    expect(payloads.length).toBeGreaterThan(1);
    const told = payloads.flatMap((payload) => modelsSchema.parse(payload).endpoints);
    expect(told.map(({ endpoint }) => endpoint)).toEqual([...Array(endpointsMax).keys()]);
    for (const payload of payloads) {
      const bytes = Buffer.byteLength(JSON.stringify(payload)) + FRAME_HEADER_BYTES;
      expect(bytes).toBeLessThanOrEqual(frameBytesMax);
    }
  });
});
