import type { ApiRequest } from "../api-request.ts";
import { badRequest } from "../http-error.ts";

/** Limits by RabbitMQ's names and ours. */
export type LimitNames = Readonly<Record<string, string>>;

/** Limits that are set, by RabbitMQ's names. */
export function shownLimits(names: LimitNames, limits: Readonly<Record<string, number | undefined>>): object {
  return Object.fromEntries(
    Object.entries(names)
      .filter(([, ours]) => limits[ours] !== undefined)
      .map(([theirs, ours]) => [theirs, limits[ours]]),
  );
}

/** The limit that a request wants to set, by our name. @throws HttpError 400, in RabbitMQ's words */
export function wantedLimit(
  request: ApiRequest,
  names: LimitNames,
  refusal: (problem: string) => string,
  place: string,
): { name: string; value: number } {
  const theirs = request.parameter("limit");
  const { value } = request.bodyWith("value");
  const ours = Object.hasOwn(names, theirs) ? names[theirs] : undefined;
  if (ours === undefined)
    throw badRequest(refusal(`Unrecognised terms [{<<"${theirs}">>,${String(value)}}] in ${place}`));
  if (typeof value !== "number" || !Number.isInteger(value))
    throw badRequest(refusal(`${theirs} should be a number, actually was <<${JSON.stringify(value)}>>`));
  // All below 0 mean that there is none.
  return { name: ours, value: Math.max(value, -1) };
}
