// Which of a request's stages run apart, and in which order their endpoints are chosen.
//
//   decode-first    decode → encode if its decider says so → prefill if its decider says so
//   prefill-first   prefill → encode if its decider says so → decode
//
// A stage without a profile never runs, nor does one without a decider, but for prefill where it goes
// first. Without a decode endpoint nothing runs further: the request goes there and nowhere else.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/profilehandler/disagg.

import type {
  Decider,
  PickContext,
  ProfileHandler,
  SchedulingStages,
  StageVerdict,
} from "../plugin.ts";

/** Names of the stages' profiles. */
export interface StageProfiles {
  readonly decode: string;
  readonly prefill: string;
  readonly encode?: string;
}

export interface StageOptions {
  readonly order: "decode-first" | "prefill-first";
  /** Those that the configuration has; others never run. */
  readonly configured: readonly string[];
  readonly profiles: StageProfiles;
  readonly deciders: { readonly prefill?: Decider; readonly encode?: Decider };
  /** See SchedulingStages. */
  readonly dataParallelPort?: number;
}

/** Said to clients; llm-d's words. */
const NO_DECODE = "failed to find available decode workers";
/** A decider that is asked before a decode endpoint is chosen. */
const NO_SLOT = -1;

/** What has run is in the context; of a decision it keeps what deciders said, until the next one begins. */
export class StagedProfiles implements ProfileHandler {
  readonly #options: StageOptions;
  #verdicts: StageVerdict[] = [];

  constructor(options: StageOptions) {
    this.#options = options;
  }

  next(context: PickContext): string | undefined {
    if (this.#isBeginning(context)) this.#verdicts = [];
    return this.#options.order === "prefill-first"
      ? this.#nextPrefillFirst(context)
      : this.#nextDecodeFirst(context);
  }

  finish({ results }: PickContext): SchedulingStages | string {
    const { profiles, dataParallelPort } = this.#options;
    const slot = results.slotOf(profiles.decode) ?? NO_SLOT;
    if (slot === NO_SLOT) return NO_DECODE;
    // Who prefills for itself hands nothing over.
    const prefillSlot = results.slotOf(profiles.prefill) ?? NO_SLOT;
    const isApart = prefillSlot !== NO_SLOT && prefillSlot !== slot;
    const { encode } = profiles;
    const encodeSlot = encode === undefined ? NO_SLOT : (results.slotOf(encode) ?? NO_SLOT);
    // Nor does who encodes for itself.
    const isEncoded = encodeSlot !== NO_SLOT && encodeSlot !== (isApart ? prefillSlot : slot);
    const verdicts = this.#verdicts;
    return {
      primary: profiles.decode,
      ...(isApart ? { prefill: profiles.prefill } : {}),
      ...(isEncoded ? { encode: encode! } : {}),
      ...(dataParallelPort === undefined ? {} : { dataParallelPort }),
      ...(verdicts.length === 0 ? {} : { verdicts }),
    };
  }

  #nextDecodeFirst(context: PickContext): string | undefined {
    const { decode, prefill, encode } = this.#options.profiles;
    if (this.#isOpen(context, decode)) return decode;
    const slot = context.results.slotOf(decode) ?? NO_SLOT;
    if (slot === NO_SLOT || context.results.slotOf(prefill) !== undefined) return undefined;
    if (this.#isOpen(context, encode) && this.#isWorth("encode", context, slot)) return encode;
    if (this.#isOpen(context, prefill) && this.#isWorth("prefill", context, slot)) return prefill;
    return undefined;
  }

  #nextPrefillFirst(context: PickContext): string | undefined {
    const { decode, prefill, encode } = this.#options.profiles;
    if (!this.#isOpen(context, decode)) return undefined;
    if (this.#isOpen(context, prefill)) return prefill;
    if (this.#isOpen(context, encode) && this.#isWorth("encode", context, NO_SLOT)) return encode;
    return decode;
  }

  #isWorth(stage: StageVerdict["stage"], context: PickContext, slot: number): boolean {
    const decider = this.#options.deciders[stage];
    if (decider === undefined) return false;
    const isApart = decider.decide(context, slot);
    const { verdictTerms: terms } = decider;
    this.#verdicts.push({ stage, isApart, ...(terms === undefined ? {} : { terms }) });
    return isApart;
  }

  #isBeginning({ results }: PickContext): boolean {
    const { decode, prefill, encode } = this.#options.profiles;
    const hasRun = (profile: string) => results.slotOf(profile) !== undefined;
    return !hasRun(decode) && !hasRun(prefill) && (encode === undefined || !hasRun(encode));
  }

  /** Whether the profile exists and has not run. */
  #isOpen({ results }: PickContext, profile: string | undefined): profile is string {
    if (profile === undefined || !this.#options.configured.includes(profile)) return false;
    return results.slotOf(profile) === undefined;
  }
}
