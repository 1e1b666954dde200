// Every bound of the wire between agents, objects, Worker and relay. Units are in the names.

export const PROTOCOL_LIMITS = {
  /** JSON control messages (hello, welcome, configure, ack…), before JSON.parse. */
  controlBytesMax: 64 * 1024,
  /** One binary frame. workerd closes a socket at 32 MiB; a frame stays far below it. */
  frameBytesMax: 1024 * 1024,
  /** Endpoints of one pool: pods times data-parallel ranks. Also the width of the prefix tree. */
  endpointsMax: 1024,
  /** Labels of one endpoint. */
  labelsMax: 64,
  labelCharsMax: 256,
  /** Metric fields one pool may ask for: the width of a metrics row's mask. */
  metricFieldsMax: 16,
  /** Bounds of a metrics specification; see metrics-specification.ts. */
  enginesMax: 16,
  metricSourcesMax: 4,
  rankLabelsMax: 4,
  scalarsMax: 8,
  exportersMax: 4,
  pathCharsMax: 1_024,
  /** Names in one MODELS frame; adapters and models of one endpoint, each kind. */
  modelNamesMax: 4_096,
  modelsPerEndpointMax: 64,
  /** Ticket reports in one frame. */
  ticketReportsMax: 512,
  /** A ticket's name: what its object packed into it, opaque to everyone else. */
  ticketCharsMax: 128,
  /** A request's id as a report names it; the relay sends a longer one as "". */
  requestIdCharsMax: 128,
  /** Endpoints in one MARKS frame. */
  marksMax: 1024,
  /** Tickets in one STARTED frame. */
  startedTicketsMax: 512,
  /** Keys in one KV frame: 32 KiB, and one or two milliseconds of the object's time. */
  kvFrameKeysMax: 4_096,
  /** InferenceObjectives and InferenceModelRewrites in one RESOURCES frame: what a configuration may have. */
  objectivesMax: 64,
  rewritesMax: 64,
  /** The payload of a RESOURCES frame: every isolate may hold what it says. */
  resourcesBytesMax: 32 * 1024,
  /** Streams named in one `kv-send` or `kv-stop`. */
  kvStreamsMax: 64,
  /** A mark that says longer is refused: the sender is broken. Objects cut leases much lower. */
  markLeaseMsMax: 600_000,
  /** Endpoints the Worker may list for one request; the relay walks them in order. */
  destinationsMax: 8,
  /** Encoders that one request may be spread over. */
  encodersMax: 64,
  /** How far ahead of the relay's clock a signature may expire. */
  signatureLifetimeMsMax: 120_000,
  /** The same, of a request to render: it is asked at once or never. */
  renderSignatureLifetimeMsMax: 10_000,
  /** How far apart the clocks of Worker and relay may be. */
  clockSkewMsMax: 5_000,
  /** (ticket, attempt) pairs a relay remembers so that none is used twice. */
  usedTicketsMax: 200_000,
  /** The same, of requests to render. */
  usedRendersMax: 100_000,
} as const;
