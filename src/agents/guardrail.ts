/** What a guardrail makes of a text. Undefined lets it pass. */
export type Verdict =
  | undefined
  /** It goes on as this instead. */
  | { readonly rewrite: string }
  /** It goes back to who has written it, who is told why: an input to the person, an output to the agent, who tries again. */
  | { readonly reject: string };

export interface GuardrailContext {
  readonly conversation: string;
  readonly agent: string;
  readonly contextVariables: Readonly<Record<string, unknown>>;
  readonly signal: AbortSignal;
}

export interface Guardrail {
  readonly name: string;
  check(text: string, context: GuardrailContext): Verdict | Promise<Verdict>;
}

/** Asked in turn, each about what the ones before have made of it. */
export async function checkAll(
  guardrails: readonly Guardrail[],
  text: string,
  context: GuardrailContext,
): Promise<{ text: string; rewrittenBy: string[]; rejected?: { by: string; reason: string } }> {
  const rewrittenBy: string[] = [];
  let current = text;
  for (const guardrail of guardrails) {
    const { name } = guardrail;
    const verdict = await guardrail.check(current, context);
    if (verdict === undefined) continue;
    if ("reject" in verdict)
      return { text: current, rewrittenBy, rejected: { by: name, reason: verdict.reject } };
    current = verdict.rewrite;
    rewrittenBy.push(name);
  }
  return { text: current, rewrittenBy };
}
