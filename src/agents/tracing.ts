import type { Attributes, Context, SpanContext, SpanKind } from "@opentelemetry/api";
import { isUndecidedTrace } from "../tasks/index.ts";
import type { Trace } from "./entries.ts";

type Api = typeof import("@opentelemetry/api");

/**
 * Spans by OpenTelemetry's conventions for generative AI, where the program has `@opentelemetry/api`; nothing, at no cost, where it
 * has not. https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/
 */
export interface Scope {
  /** What carries the trace in a message; empty where there is none. */
  readonly headers: Trace;
  /** Runs `work` in a span within this one; what it throws is the span's error. */
  run<T>(name: string, options: SpanOptions, work: (scope: Scope) => Promise<T>): Promise<T>;
  set(attributes: Attributes): void;
}

interface SpanOptions {
  /** Default `internal`. */
  readonly kind?: "internal" | "client" | "producer" | "consumer";
  readonly attributes: Attributes;
}

export interface Tracing {
  /** Where a message's headers say that it belongs; without any, where the program is. */
  scope(headers?: Readonly<Record<string, unknown>>): Scope;
}

const kinds = { internal: 0, client: 2, producer: 3, consumer: 4 } as const satisfies Record<
  string,
  SpanKind
>;

/** Nobody records here; what somebody else does is carried on. */
function closedScope(headers: Trace): Scope {
  const scope: Scope = { headers, run: (_name, _options, work) => work(scope), set() {} };
  return scope;
}

export async function loadTracing(): Promise<Tracing> {
  let api: Api;
  try {
    api = await import("@opentelemetry/api");
  } catch {
    return { scope: (headers) => closedScope(traceIn(headers)) };
  }
  const { context, propagation, trace, ROOT_CONTEXT } = api;
  return {
    scope(headers) {
      if (headers === undefined) return new OpenScope(api, context.active());
      const carried = traceIn(headers);
      if (carried["traceparent"] !== undefined)
        return new OpenScope(api, propagation.extract(context.active(), headers), { carried });
      const cause = trace.getSpanContext(propagation.extract(ROOT_CONTEXT, headers));
      return new OpenScope(api, context.active(), { cause });
    },
  };
}

/** Without what a sender has made up that records nothing itself. */
function traceIn({ traceparent, tracestate }: Readonly<Record<string, unknown>> = {}): Trace {
  if (typeof traceparent !== "string" || isUndecidedTrace(traceparent)) return {};
  return { traceparent, ...(typeof tracestate === "string" && { tracestate }) };
}

class OpenScope implements Scope {
  private readonly api: Api;
  private readonly context: Context;
  /** What has come, for where the API is there and nothing behind it. */
  private readonly carried: Trace;
  /** What spans are linked to that begin a trace here. */
  private readonly cause: SpanContext | undefined;

  constructor(api: Api, context: Context, came: { carried?: Trace; cause?: SpanContext } = {}) {
    this.api = api;
    this.context = context;
    this.carried = came.carried ?? {};
    this.cause = came.cause;
  }

  get headers(): Trace {
    const headers: Record<string, string> = {};
    this.api.propagation.inject(this.context, headers);
    return headers["traceparent"] === undefined ? this.carried : headers;
  }

  async run<T>(name: string, options: SpanOptions, work: (scope: Scope) => Promise<T>): Promise<T> {
    const { kind = "internal", attributes } = options;
    const { trace, context, SpanStatusCode } = this.api;
    const tracer = trace.getTracer("warrenmq");
    const links = this.cause && [{ context: this.cause }];
    const span = tracer.startSpan(name, { kind: kinds[kind], attributes, links }, this.context);
    const inside = trace.setSpan(this.context, span);
    try {
      return await context.with(inside, () =>
        work(new OpenScope(this.api, inside, { carried: this.carried })),
      );
    } catch (error) {
      span.recordException(error as Error);
      span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).message });
      throw error;
    } finally {
      span.end();
    }
  }

  set(attributes: Attributes): void {
    this.api.trace.getSpan(this.context)?.setAttributes(attributes);
  }
}
