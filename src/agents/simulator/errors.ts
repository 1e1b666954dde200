// Errors in the shape current vLLM gives them (vllm/entrypoints/openai/engine/protocol.py,
// ErrorResponse), so that routers and clients meet the real thing.

/** What a request is refused with. `message` never repeats a prompt. */
export interface EngineError {
  readonly status: number;
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
}

/** A request the engine cannot understand or carry out. */
export function badRequest(message: string, param: string | null = null): EngineError {
  return { status: 400, message, type: "BadRequestError", param };
}

export function modelNotFound(model: string): EngineError {
  const message = `The model \`${model.slice(0, 256)}\` does not exist.`;
  return { status: 404, message, type: "NotFoundError", param: "model" };
}

export function notFound(): EngineError {
  return { status: 404, message: "Not Found", type: "NotFoundError", param: null };
}

export function methodNotAllowed(): EngineError {
  return { status: 405, message: "Method Not Allowed", type: "MethodNotAllowed", param: null };
}

export function bodyTooLarge(bytesMax: number): EngineError {
  const message = `The request is larger than ${bytesMax} bytes.`;
  return { status: 413, message, type: "RequestEntityTooLargeError", param: null };
}

/** A request that the engine's present state does not allow. */
export function conflict(message: string): EngineError {
  return { status: 409, message, type: "ConflictError", param: null };
}

export function queueFull(): EngineError {
  const message = "The waiting queue is full. Please try again later.";
  return { status: 429, message, type: "TooManyRequestsError", param: null };
}

export function internalError(): EngineError {
  return {
    status: 500,
    message: "Internal server error",
    type: "InternalServerError",
    param: null,
  };
}

/** The body of an error. */
export function encodeError({ status, message, type, param }: EngineError): string {
  return JSON.stringify({ error: { message, type, param, code: status } });
}
