import type { StandardJSONSchemaV1, StandardSchemaV1 } from "@standard-schema/spec";
import type { Effect, Schema, OutputOf, StateTransaction } from "../tasks/index.ts";

/** What a tool may use of the turn that calls it. */
export interface ToolContext {
  readonly conversation: string;
  readonly agent: string;
  readonly toolCallId: string;
  readonly contextVariables: Readonly<Record<string, unknown>>;
  /** Changes variables for all that follows in the conversation, when the tool has returned. */
  readonly setContext: (changes: Readonly<Record<string, unknown>>) => void;
  /** The same whenever this call is made again: for receivers that know what they have done. */
  readonly idempotencyKey: string;
  /** Of the database that keeps the state; only in a tool whose effect is `transactional`. */
  readonly transaction: StateTransaction;
  readonly signal: AbortSignal;
}

export interface ToolOptions<I extends Schema | undefined> {
  /** What it does, for the model. */
  readonly description: string;
  /** What it takes: any Standard Schema that can say what it is as JSON Schema (zod, arktype), or with {@link parameters} any. */
  readonly inputSchema?: I;
  /** JSON Schema of the input, where the schema cannot give it (valibot) or there is none. */
  readonly parameters?: Readonly<Record<string, unknown>>;
  /**
   * What a call does to the world, which decides what happens when a process dies in the middle of it. `read`: nothing, it may run
   * again, and beside others. `idempotent` (the default): it runs again with the same {@link ToolContext.idempotencyKey}. `once`:
   * it never runs again; that nobody knows whether it ran is said. `transactional`: it writes by {@link ToolContext.transaction},
   * all or nothing.
   */
  readonly effect?: Effect;
  /** A person decides before it runs: `true`, or by what it was given. */
  readonly needsApproval?: boolean | ((input: OutputOf<I>) => boolean | Promise<boolean>);
  /** What it returns goes to the model: text as it is, anything else as JSON. An error goes to the model as well. */
  execute(input: OutputOf<I>, context: ToolContext): unknown;
}

/** Something that a model may call. */
export interface Tool<I extends Schema | undefined = Schema | undefined> extends ToolOptions<I> {
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly effect: Effect;
}

/** A tool whatever its input is. */
export type AnyTool = Tool | Tool<never>;

/**
 * Describes a tool: `tool({ description: "…", inputSchema: z.object({ city: z.string() }), execute: ({ city }) => … })`.
 *
 * @throws TypeError when its input cannot be told to a model
 */
export function tool<I extends Schema | undefined = undefined>(options: ToolOptions<I>): Tool<I> {
  const { inputSchema, parameters = jsonSchemaOf(inputSchema, "inputSchema", "input") } = options;
  return { effect: "idempotent", ...options, parameters };
}

const noParameters = { type: "object", properties: {}, additionalProperties: false } as const;

/** @throws TypeError when the schema cannot say what it is */
export function jsonSchemaOf(
  schema: Schema | undefined,
  what: string,
  side: "input" | "output",
): Readonly<Record<string, unknown>> {
  if (schema === undefined) return noParameters;
  const standard: StandardSchemaV1.Props & Partial<StandardJSONSchemaV1.Props> = schema["~standard"];
  if (standard.jsonSchema !== undefined) {
    const { $schema: _, ...described } = standard.jsonSchema[side]({ target: "draft-07" });
    return described;
  }
  throw new TypeError(
    `${what} is a schema of ${standard.vendor}, which does not say what it is as JSON Schema. Give it beside: parameters: { type: "object", … }`,
  );
}
