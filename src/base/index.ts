export { EventLoopTurn, type EndOfTurn } from "./event-loop-turn.ts";
export { systemClock, type Clock, type Timer } from "./clock.ts";
export { createLogger, silentLogger, type Logger, type LogLevel } from "./logger.ts";
