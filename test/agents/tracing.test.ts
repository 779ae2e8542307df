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

/** What is recorded from now on until the test ends, as by a program with OpenTelemetry's defaults. */
function record(): InMemorySpanExporter {
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
  return exporter;
}

test("d17 a run over several connections is one trace, by the conventions for generative AI", async () => {
  const exporter = record();
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
  const last = await swarmOf(new Agent({ name: "B", model: scripted(["Done."]) }));
  const swarm = await swarmOf();
  const { conversation } = await swarm.run("A", "Go!");
  // The run is over before its last span is.
  await last.close();

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

test("what a sender without OpenTelemetry has begun is one trace from its first agent on, also through answers and approvals of others", async () => {
  const bus = await connect("embedded::memory:");
  onTestFinished(() => bus.close());
  const c = new Agent({ name: "C", model: scripted(["It is good."]) });
  const b = new Agent({
    name: "B",
    model: scripted([
      { toolCalls: [{ name: "c", arguments: { text: "Is it good?" } }] },
      { toolCalls: [{ name: "pay" }] },
      "Done.",
    ]),
    tools: {
      c: c.asTool("Knows"),
      pay: tool({ description: "", needsApproval: true, execute: () => "paid" }),
    },
  });
  const a = new Agent({
    name: "A",
    handoffs: [b],
    model: scripted([{ toolCalls: [{ name: "transfer_to_b" }] }]),
  });
  const away = await new Swarm(bus, { agents: [a] }).start();
  await away.close();
  // Neither this one nor who decides below records anything.
  const run = away.run(a, "Go!");
  await run.sent;
  const queue = (await away.debugQueues())["A"].queue_name;
  const { transport } = bus["parts"];
  let sent: string;
  {
    await using browser = await transport.browse(queue);
    sent = String((await browser.next())!.message.headers["traceparent"]);
  }

  const exporter = record();
  const swarm = await new Swarm(bus, { agents: [a, b, c] }).start();
  for await (const event of run) {
    if (event.type !== "approval") continue;
    await bus.publish({
      exchange: "agent_exchange",
      routingKey: "agent.b",
      body: {
        kind: "approval",
        approval: { approvalId: event.id, approved: true },
        routing: { conversation: run.conversation },
      },
    });
  }
  expect(await run).toMatchObject({ outcome: "completed", content: "Done." });
  await swarm.close();

  const spans = exporter.getFinishedSpans();
  const [begun] = spans;
  expect(begun).toMatchObject({ name: "process agent.a", parentSpanContext: undefined });
  const [, traceId, spanId] = sent.split("-");
  expect(begun.links.map(({ context: linked }) => linked)).toMatchObject([{ traceId, spanId }]);
  expect(spans.map(({ name }) => name).filter((name) => name.startsWith("invoke_agent"))).toEqual([
    "invoke_agent A",
    "invoke_agent B",
    "invoke_agent C",
    "invoke_agent B",
    "invoke_agent B",
  ]);
  expect(new Set(spans.map((span) => span.spanContext().traceId)).size).toBe(1);
});

test("a sender that does not want its trace recorded is heard", async () => {
  const exporter = record();
  const bus = await connect("embedded::memory:");
  onTestFinished(() => bus.close());
  const swarm = await new Swarm(bus, { agents: [new Agent({ name: "A", handler: () => "heard" })] }).start();
  const headers = { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00" };
  const body = { content: "Go!", routing: { conversation: "untraced" } };
  await bus.publish({ exchange: "agent_exchange", routingKey: "agent.a", headers, body });
  expect((await swarm.follow("untraced")).content).toBe("heard");
  await swarm.close();
  expect(exporter.getFinishedSpans()).toEqual([]);
});
