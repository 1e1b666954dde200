// models-data-extractor: which models an endpoint serves.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/extractor/models. At most 64 of an
// endpoint's models are known, by their ids. llm-d keeps the parent of each as well; nothing reads it.

import { z } from "zod";
import { defineExtractor } from "../../plugin.ts";

export const modelsDataExtractor = defineExtractor({
  type: "models-data-extractor",
  params: z.strictObject({}),
  create: () => ({
    reads: "models",
    contribute(builder, { target }) {
      if (target !== null) builder.models(target);
    },
  }),
});
