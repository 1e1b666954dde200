// models-data-source: the models an engine serves, from its /v1/models.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/source/models. llm-d asks at each tick of
// 50 ms; here it is every 10 s unless `interval` says otherwise, since a list changes when somebody
// loads a model.

import { z } from "zod";
import {
  CERTIFICATE_SHAPE,
  HALF_A_CERTIFICATE,
  hasWholeCertificate,
  intervalParam,
  requestShape,
  targetOf,
} from "../../data-layer/source-params.ts";
import { defineDataSource } from "../../plugin.ts";

export const modelsDataSource = defineDataSource({
  type: "models-data-source",
  params: z
    .strictObject({
      ...requestShape({ scheme: "http", path: "/v1/models", insecureSkipVerify: true }),
      ...CERTIFICATE_SHAPE,
      interval: intervalParam,
    })
    .refine(hasWholeCertificate, HALF_A_CERTIFICATE),
  create: (params) => ({ payload: "models", target: targetOf(params, "endpoint") }),
});
