import { ModelError } from "../model.ts";
import { isFinalStatus, retryAfterMs } from "./http-status.ts";

/** What the AI SDK's errors have, which are known by name: there may be several copies of their classes in a process. */
interface AiSdkError {
  readonly name?: string;
  readonly message?: string;
  readonly statusCode?: number;
  readonly isRetryable?: boolean;
  readonly responseHeaders?: Record<string, string>;
  readonly lastError?: unknown;
}

/** No other try would end better: settings are missing, or the provider cannot do what is asked. */
const final = [
  "AI_InvalidArgumentError",
  "AI_InvalidPromptError",
  "AI_LoadAPIKeyError",
  "AI_LoadSettingError",
  "AI_NoSuchModelError",
  "AI_NoSuchProviderError",
  "AI_UnsupportedFunctionalityError",
];

/** @param who - the model, for people */
export function asModelError(cause: unknown, who: string, nowMs: number): ModelError {
  if (cause instanceof ModelError) return cause;
  const error = (
    typeof cause === "object" && cause !== null ? cause : { message: String(cause) }
  ) as AiSdkError;
  // A model that is wrapped may have tried several times itself.
  if (error.name === "AI_RetryError" && error.lastError !== undefined)
    return asModelError(error.lastError, who, nowMs);
  const { name = "", message = JSON.stringify(cause), statusCode, responseHeaders } = error;
  const status = statusCode === undefined ? "" : `${statusCode} `;
  return new ModelError(`${who}: ${status}${message}`, {
    isFinal: final.includes(name) || (name === "AI_APICallError" && isFinalCall(error)),
    retryAfterMs: responseHeaders && retryAfterMs(new Headers(responseHeaders), nowMs),
    cause,
  });
}

function isFinalCall({ statusCode, isRetryable = false }: AiSdkError): boolean {
  return !isRetryable && (statusCode === undefined || isFinalStatus(statusCode));
}
