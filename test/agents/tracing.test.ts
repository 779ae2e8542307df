/** Spans of agents, as an exporter sees them. */
import { context, propagation, trace } from "@opentelemetry/api";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { expect, onTestFinished, test } from "vitest";
import { Agent, scripted, Swarm, tool } from "../../src/agents/index.ts";
import { connect } from "../../src/tasks/index.ts";
import { startBroker } from "../../src/broker/index.ts";
import { join } from "node:path";
import { dataDirectory } from "../support/data-directory.ts";

test("d17 a run over several connections is one trace, by the conventions for generative AI", async () => {
  const exporter = new InMemorySpanExporter();
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  );
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  onTestFinished(() => {
    trace.disable();
    propagation.disable();
    context.disable();
  });
  const broker = await startBroker({ port: 0 });
  onTestFinished(() => broker.stop());
  const state = `sqlite:${join(dataDirectory(), "state.db")}`;
  const swarmOf = async (...agents: Agent[]): Promise<Swarm> => {
    const bus = await connect(broker.url, { state });
    onTestFinished(() => bus.close());
    return new Swarm(bus, { agents }).start();
  };
  await swarmOf(
    new Agent({
      name: "A",
      handoffs: ["B"],
      model: scripted([{ toolCalls: [{ name: "look" }, { name: "transfer_to_b" }] }]),
      tools: { look: tool({ description: "", effect: "read", execute: () => "seen" }) },
    }),
  );
  await swarmOf(new Agent({ name: "B", model: scripted(["Done."]) }));
  const swarm = await swarmOf();
  const { conversation } = await swarm.run("A", "Go!");

  const spans = exporter.getFinishedSpans();
  expect(spans.map(({ name }) => name)).toEqual([
    "send agent.a",
    "chat scripted",
    "execute_tool look",
    "invoke_agent A",
    "chat scripted",
    "invoke_agent B",
  ]);
  expect(new Set(spans.map((span) => span.spanContext().traceId)).size).toBe(1);
  const [sent, chat, called, invoked] = spans;
  expect(invoked.parentSpanContext?.spanId).toBe(sent.spanContext().spanId);
  for (const inner of [chat, called])
    expect(inner.parentSpanContext?.spanId).toBe(invoked.spanContext().spanId);
  expect(invoked.attributes).toEqual({
    "gen_ai.operation.name": "invoke_agent",
    "gen_ai.agent.name": "A",
    "gen_ai.conversation.id": conversation,
  });
  expect(chat.attributes).toMatchObject({
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "scripted",
    "gen_ai.usage.output_tokens": expect.any(Number),
  });
  expect(called.attributes).toEqual({
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": "look",
    "gen_ai.tool.call.id": expect.stringMatching(/^call_/),
  });
});
