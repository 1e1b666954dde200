// pd-profile-handler: choose endpoints for decode, and where it pays for prefill.
//
//   as disagg-profile-handler, decode first and without encode; primaryPort as in
//   data-parallel-profile-handler where it is over 0
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/profilehandler/disagg/pd_profile_handler.go,
// deprecated there. The decider reads the pool's best prefix knowledge, whatever the parameters about
// prefixes say: llm-d's reads the approximate producer even where a precise one is configured.
// A constant number of comparisons a profile.

import { z } from "zod";
import { StagedProfiles } from "../../disaggregation/stages.ts";
import { OWN_PORT_NOTE } from "../../disaggregation/ranks.ts";
import { type Decider, defineProfileHandler } from "../../plugin.ts";

const params = z.strictObject({
  decodeProfile: z.string().min(1).default("decode").describe("Name of the decode profile"),
  prefillProfile: z.string().min(1).default("prefill").describe("Name of the prefill profile"),
  primaryPort: z
    .int()
    .min(0)
    .max(65_535)
    .default(0)
    .describe("Port of the process that dispatches to data-parallel ranks; 0: there is none"),
  deciderPluginName: z
    .string()
    .min(1)
    .default("prefix-based-pd-decider")
    .describe("Decider that says whether prefill runs apart"),
  prefixPluginType: z.string().default("").describe("Without effect"),
  prefixPluginName: z.string().default("").describe("Without effect"),
  prefixMatchInfoProducerName: z.string().default("").describe("Without effect"),
});
type Params = z.output<typeof params>;

const IGNORED = ["prefixPluginType", "prefixPluginName", "prefixMatchInfoProducerName"] as const;

export const pdProfileHandler = defineProfileHandler({
  type: "pd-profile-handler",
  deprecated: "Use disagg-profile-handler.",
  params,
  references: ({ deciderPluginName }: Params) => [
    { path: "deciderPluginName", name: deciderPluginName, kind: "decider" },
  ],
  profilesNamed: ({ decodeProfile, prefillProfile }: Params) => [
    { path: "decodeProfile", name: decodeProfile, isNeeded: true },
    { path: "prefillProfile", name: prefillProfile, without: "prefill never runs apart" },
  ],
  notes: (filled: Params) => [
    ...(filled.primaryPort === 0 ? [] : [OWN_PORT_NOTE]),
    ...IGNORED.filter((name) => filled[name] !== "").map(
      (name) => `${name} is without effect: the decider reads the pool's best prefix knowledge.`,
    ),
  ],
  create: ({ decodeProfile, prefillProfile, primaryPort, deciderPluginName }, wiring) =>
    new StagedProfiles({
      order: "decode-first",
      configured: wiring.profiles,
      profiles: { decode: decodeProfile, prefill: prefillProfile },
      deciders: { prefill: wiring.instance(deciderPluginName) as Decider },
      ...(primaryPort === 0 ? {} : { dataParallelPort: primaryPort }),
    }),
});
