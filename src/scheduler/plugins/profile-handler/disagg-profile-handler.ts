// disagg-profile-handler: choose endpoints for decode, and where it pays for prefill and encode apart.
//
//   decode-first    decode → encode? → prefill?       prefill-first   prefill → encode? → decode
//
// stages.ts has the rules. The request goes to the decode endpoint.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/profilehandler/disagg. A prefill endpoint
// that is the decode endpoint is left out here: it would hand its blocks to itself. So is an encode
// endpoint that is the one which computes the prompt. llm-d's relays know one prefill endpoint; here they
// are told the next best one, too, and ask it where the first fails. llm-d's deciders do not know how long
// the transfer of blocks takes, so that short prompts lose by it; predicted-ttft-pd-decider does. A constant
// number of comparisons a profile.

import { z } from "zod";
import { StagedProfiles } from "../../disaggregation/stages.ts";
import {
  type Decider,
  defineProfileHandler,
  type PluginReference,
  type ProfileReference,
  type Wiring,
} from "../../plugin.ts";

const profileName = z.string().default("").describe("Name of the stage's profile");
const deciderName = z
  .string()
  .default("")
  .describe("Decider of the stage; without one it never runs");

const NESTED = ["profiles", "deciders"] as const;
const FLAT = [
  "decodeProfile",
  "prefillProfile",
  "encodeProfile",
  "prefillDeciderPluginName",
  "encodeDeciderPluginName",
  "deciderPluginName",
] as const;

const written = z.strictObject({
  stageOrder: z.string().default("").describe("decode-first or prefill-first"),
  profiles: z
    .strictObject({ decode: profileName, prefill: profileName, encode: profileName })
    .optional(),
  deciders: z.strictObject({ prefill: deciderName, encode: deciderName }).optional(),
  // The style of llm-d's releases before, in the place of the two above.
  decodeProfile: z.string().optional().describe("Older name of profiles.decode"),
  prefillProfile: z.string().optional().describe("Older name of profiles.prefill"),
  encodeProfile: z.string().optional().describe("Older name of profiles.encode"),
  prefillDeciderPluginName: z.string().optional().describe("Older name of deciders.prefill"),
  encodeDeciderPluginName: z.string().optional().describe("Older name of deciders.encode"),
  deciderPluginName: z.string().optional().describe("Oldest name of deciders.prefill"),
});
type Written = z.output<typeof written>;

/** Undefined for what is no order. llm-d takes these spellings, too. */
function parseOrder(text: string): "decode-first" | "prefill-first" | undefined {
  const order = text.toLowerCase().replaceAll(/[-_]/g, "");
  if (["", "decode", "decodefirst"].includes(order)) return "decode-first";
  return ["prefill", "prefillfirst"].includes(order) ? "prefill-first" : undefined;
}

/** Both styles as the nested one, with all names filled in. */
function normalize(given: Written) {
  const { profiles, deciders } = given;
  const prefill =
    deciders?.prefill || given.prefillDeciderPluginName || given.deciderPluginName || "";
  return {
    stageOrder: parseOrder(given.stageOrder) ?? "decode-first",
    profiles: {
      decode: profiles?.decode || given.decodeProfile || "decode",
      prefill: profiles?.prefill || given.prefillProfile || "prefill",
      encode: profiles?.encode || given.encodeProfile || "encode",
    },
    deciders: { prefill, encode: deciders?.encode || given.encodeDeciderPluginName || "" },
  };
}
type Params = ReturnType<typeof normalize>;

const params = written
  .superRefine((given, context) => {
    const issue = (path: string[], message: string) =>
      context.addIssue({ code: "custom", path, message });
    const flat = FLAT.filter((name) => given[name] !== undefined);
    if (flat.length > 0 && NESTED.some((name) => given[name] !== undefined))
      issue([flat[0]!], "is the older style: use either it or profiles and deciders, not both");
    const order = parseOrder(given.stageOrder);
    if (order === undefined) issue(["stageOrder"], "expected decode-first or prefill-first");
    if (order === "prefill-first" && normalize(given).deciders.prefill !== "")
      issue(["stageOrder"], "prefill-first takes no decider for prefill: it always runs");
  })
  .transform(normalize);

function referencesOf({ deciders }: Params): PluginReference[] {
  return (["prefill", "encode"] as const).flatMap((stage) =>
    deciders[stage] === ""
      ? []
      : [{ path: `deciders.${stage}`, name: deciders[stage], kind: "decider" as const }],
  );
}

/** A stage that goes by its default name and has no decider need not be there. */
function profilesOf({ stageOrder, profiles, deciders }: Params): ProfileReference[] {
  const stages = (["prefill", "encode"] as const).filter(
    (stage) =>
      profiles[stage] !== stage ||
      deciders[stage] !== "" ||
      (stage === "prefill" && stageOrder === "prefill-first"),
  );
  return [
    { path: "profiles.decode", name: profiles.decode, isNeeded: true },
    ...stages.map((stage) => ({
      path: `profiles.${stage}`,
      name: profiles[stage],
      without: `${stage} never runs apart`,
    })),
  ];
}

function decidersOf({ deciders }: Params, wiring: Wiring) {
  const { prefill, encode } = deciders;
  return {
    ...(prefill === "" ? {} : { prefill: wiring.instance(prefill) as Decider }),
    ...(encode === "" ? {} : { encode: wiring.instance(encode) as Decider }),
  };
}

export const disaggProfileHandler = defineProfileHandler({
  type: "disagg-profile-handler",
  params,
  references: referencesOf,
  profilesNamed: profilesOf,
  create: (filled, wiring) =>
    new StagedProfiles({
      order: filled.stageOrder,
      configured: wiring.profiles,
      profiles: filled.profiles,
      deciders: decidersOf(filled, wiring),
    }),
});
