import type { Session } from "../session.ts";

/** Steps by the name of what they show. */
export type Scenarios = Readonly<Record<string, (session: Session) => Promise<void>>>;
