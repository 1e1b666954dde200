// The examples of docs/protocol.md and docs/configuration.md are what the code accepts.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse as parseYaml } from "yaml";
import type { z } from "zod";
import {
  fromObjectSchema,
  helloSchema,
  kvOfferSchema,
  marksSchema,
  membershipSchema,
  modelsSchema,
  numberedReportsSchema,
  startedSchema,
} from "../../../src/agents/protocol/messages.ts";
import { resourcesSchema } from "../../../src/agents/protocol/resources.ts";
import { parseDeployment } from "../../../src/config/deployment.ts";

const SCHEMAS: Record<string, z.ZodType> = {
  hello: helloSchema,
  "from-object": fromObjectSchema,
  membership: membershipSchema,
  tickets: numberedReportsSchema,
  marks: marksSchema,
  models: modelsSchema,
  started: startedSchema,
  "kv-offer": kvOfferSchema,
  resources: resourcesSchema,
};

describe("docs/protocol.md", () => {
  const examples = [
    ...readFileSync("docs/protocol.md", "utf8").matchAll(/```json ([a-z-]+)\n(.*?)```/gs),
  ];

  it("shows every kind of message", () => {
    expect(new Set(examples.map(([, kind]) => kind))).toEqual(new Set(Object.keys(SCHEMAS)));
  });

  it.for(examples.map(([, kind, text]) => [kind!, text!] as const))(
    "%s example is accepted",
    ([kind, text]) => {
      expect(SCHEMAS[kind]!.safeParse(JSON.parse(text)).error).toBeUndefined();
    },
  );
});

it("docs/protocol.md shows a specification that collectors read", () => {
  const configures = [
    ...readFileSync("docs/protocol.md", "utf8").matchAll(/```json from-object\n(.*?)```/gs),
  ].map(([, text]) => fromObjectSchema.parse(JSON.parse(text!)));
  expect(configures).toContainEqual(
    expect.objectContaining({ specification: expect.objectContaining({ v: 1 }) as object }),
  );
});

it("docs/configuration.md shows a configuration that is accepted", () => {
  const [, yaml] = /```yaml\n(.*?)```/s.exec(readFileSync("docs/configuration.md", "utf8"))!;
  expect(parseDeployment(parseYaml(yaml!))).toMatchObject({ ok: true });
});
