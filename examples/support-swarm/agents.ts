/**
 * A shop's support as four agents: triage hands over to research, which looks into the articles and hands over to the writer, who asks the
 * reviewer before answering. A guardrail keeps promises of money out of answers.
 *
 * With OPENAI_API_KEY (and OPENAI_BASE_URL, OPENAI_MODEL) set they are a language model; without, they follow a script.
 *
 *     npm start                        starts them beside the broker
 *     npx warren agents run examples/support-swarm/agents.ts --url …    starts them beside another one
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  Agent,
  openaiCompatible,
  scripted,
  tool,
  type Guardrail,
  type Line,
  type Model,
  type ModelRequest,
  type Swarm,
} from "../../src/agents/index.ts"; // in your own program: "warrenmq/agents"
import { z } from "zod";

const folder = join(import.meta.dirname, "articles");
const articles = readdirSync(folder).map((name) => readFileSync(join(folder, name), "utf8"));

/** The real model, or what stands in for it. */
function model(script: (request: ModelRequest) => Line): Model {
  return process.env["OPENAI_API_KEY"] ? openaiCompatible() : scripted(script, "scripted support");
}

const noPromises: Guardrail = {
  name: "no promises",
  check: (text) =>
    /\b(refund|voucher|discount) of \d/i.test(text)
      ? { reject: "Do not promise amounts of money; say that a colleague will look at it." }
      : undefined,
};

const searchArticles = tool({
  description: "Finds the help articles that have most of the words in common with a question.",
  effect: "read",
  inputSchema: z.object({ question: z.string() }),
  execute: ({ question }) => search(question) ?? "There is no article about it.",
});

const reviewer = new Agent({
  name: "Reviewer",
  role: "Says whether an answer can be sent",
  instructions:
    "You are given a draft answer to a customer. Reply 'OK', or with one sentence about what must change.",
  model: model(({ messages }) => (said(messages).length > 60 ? "OK" : "It is too short to help anybody.")),
});

const writer = new Agent({
  name: "Writer",
  role: "Writes the answer to the customer",
  instructions:
    "Write a friendly answer to the customer's last question from what research has found. Ask the reviewer about your draft once, then " +
    "answer with the text alone.",
  tools: { review: reviewer.asTool("Says whether a draft can be sent.") },
  guardrails: { output: [noPromises] },
  model: model(({ messages }) => {
    const last = messages.at(-1);
    const found = messages.findLast((message) => message.role === "tool" && message.name === "search");
    const draft = `Thank you for asking! ${sentences(found?.content ?? "")} Write again if that does not help.`;
    return last?.role === "tool" && last.name === "review"
      ? draft
      : { toolCalls: [{ name: "review", arguments: { text: draft } }] };
  }),
});

const research = new Agent({
  name: "Research",
  role: "Looks up what the shop knows",
  instructions: "Search for what the customer has asked, once, then hand over to the writer.",
  tools: { search: searchArticles },
  handoffs: [writer],
  model: model(({ messages }) =>
    messages.at(-1)?.role === "tool" && messages.at(-1)?.name === "search"
      ? { toolCalls: [{ name: "transfer_to_writer" }] }
      : { toolCalls: [{ name: "search", arguments: { question: said(messages) } }] },
  ),
});

const triage = new Agent({
  name: "Triage",
  role: "Greets customers, and knows who can help",
  instructions:
    "You are the first to read what customers of a lamp shop write. Answer greetings yourself. For everything else hand over to research.",
  handoffs: [research],
  model: model(({ messages }) =>
    /^(hello|hi|hey|good (morning|day|evening))\b.{0,20}$/i.test(said(messages))
      ? "Hello! What can I do for you? Ask me about returns, delivery or batteries."
      : { toolCalls: [{ name: "transfer_to_research" }] },
  ),
});

export default function register(swarm: Swarm): void {
  for (const agent of [triage, research, writer, reviewer]) swarm.register(agent);
}

/** What a person, or another agent, has said last. */
function said(messages: ModelRequest["messages"]): string {
  return messages.findLast(({ role }) => role === "user")?.content ?? "";
}

function search(question: string): string | undefined {
  const words = wordsOf(question);
  const scored = articles.map((text) => {
    const found = wordsOf(text);
    return { text, score: words.filter((word) => found.includes(word)).length };
  });
  const [best] = scored.toSorted((a, b) => b.score - a.score);
  return best && best.score > 0 ? best.text : undefined;
}

/** Of four letters or more, without what plurals and verbs end with. */
function wordsOf(text: string): string[] {
  return (text.toLowerCase().match(/[a-z]{4,}/g) ?? []).map((word) => word.replace(/(ing|ies|es|s|y)$/, ""));
}

function sentences(article: string): string {
  const [, ...lines] = article.split("\n");
  return lines.join(" ").trim() || "I have found nothing about it, so a colleague will write to you.";
}
