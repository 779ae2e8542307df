import type { Attributes, Context, SpanKind } from "@opentelemetry/api";

type Api = typeof import("@opentelemetry/api");

/**
 * Spans by OpenTelemetry's conventions for generative AI, where the program has `@opentelemetry/api`; nothing, at no cost, where it
 * has not. https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/
 */
export interface Scope {
  /** What carries the trace in a message. */
  readonly headers: Readonly<Record<string, string>>;
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

const noScope: Scope = {
  headers: {},
  run: (_name, _options, work) => work(noScope),
  set() {},
};

export async function loadTracing(): Promise<Tracing> {
  let api: Api;
  try {
    api = await import("@opentelemetry/api");
  } catch {
    return { scope: () => noScope };
  }
  const { context, propagation } = api;
  return {
    scope: (headers) =>
      new OpenScope(
        api,
        headers === undefined ? context.active() : propagation.extract(context.active(), headers),
      ),
  };
}

class OpenScope implements Scope {
  private readonly api: Api;
  private readonly context: Context;

  constructor(api: Api, context: Context) {
    this.api = api;
    this.context = context;
  }

  get headers(): Record<string, string> {
    const headers: Record<string, string> = {};
    this.api.propagation.inject(this.context, headers);
    return headers;
  }

  async run<T>(name: string, options: SpanOptions, work: (scope: Scope) => Promise<T>): Promise<T> {
    const { kind = "internal", attributes } = options;
    const { trace, context, SpanStatusCode } = this.api;
    const tracer = trace.getTracer("warrenmq");
    const span = tracer.startSpan(name, { kind: kinds[kind], attributes }, this.context);
    const inside = trace.setSpan(this.context, span);
    try {
      return await context.with(inside, () => work(new OpenScope(this.api, inside)));
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
