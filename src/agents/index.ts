export {
  Agent,
  type AgentHandler,
  type AgentMessage,
  type AgentOptions,
  type AgentReply,
  type AskTool,
  type Budget,
  type HandlerContext,
} from "./agent.ts";
export { AskError } from "./ask-error.ts";
export { Approvals, type Approval, type Decision } from "./approvals.ts";
export type { Outcome, Variables } from "./entries.ts";
export type { Guardrail, GuardrailContext, Verdict } from "./guardrail.ts";
export { lastCharacters, lastMessages, type HistoryPolicy } from "./history.ts";
export { mcpTools, type McpClient } from "./mcp-tools.ts";
export type { AssistantMessage, ChatMessage, ToolCall, ToolMessage, Usage, UserMessage } from "./message.ts";
export {
  ModelError,
  type Model,
  type ModelReply,
  type ModelRequest,
  type Prices,
  type ToolDescription,
} from "./model.ts";
export { aiSdk, type AiSdkModel, type AiSdkOptions } from "./models/ai-sdk.ts";
export { openaiCompatible, type OpenAiCompatibleOptions } from "./models/openai-compatible.ts";
export { scripted, type Line } from "./models/scripted.ts";
export type { KnownAgent } from "./registry.ts";
export { Run, type RunEvent, type RunResult } from "./run.ts";
export {
  Swarm,
  type AgentHealth,
  type ConversationSummary,
  type QueueStatus,
  type RunLimits,
  type RunOptions,
  type SwarmHealth,
  type SwarmOptions,
} from "./swarm.ts";
export { tool, type AnyTool, type Tool, type ToolContext, type ToolOptions } from "./tool.ts";
