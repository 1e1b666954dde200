// always-disagg-multimodal-decider: encode on another endpoint whatever has an image, audio or video.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/profilehandler/disagg. It counts no pixels:
// a thumbnail travels like a film.

import { z } from "zod";
import { defineDecider } from "../../plugin.ts";

export const alwaysDisaggMultimodalDecider = defineDecider({
  type: "always-disagg-multimodal-decider",
  params: z.strictObject({}),
  create: () => ({
    decide: ({ request }) => request.media !== undefined && request.media.hashes.length > 0,
  }),
});
