/** Which names a permission covers: those in which its regular expression is found. An empty one covers the empty name. */
export class NamePattern {
  /** As it was given. */
  readonly text: string;
  /** Null when every name matches. */
  private readonly expression: RegExp | null;

  /** @throws Error when it is not a regular expression, or has what JavaScript's have not. */
  constructor(text: string, expanded: string = text) {
    this.text = text;
    this.expression = expanded === ".*" ? null : compile(expanded);
  }

  get matchesAll(): boolean {
    return this.expression === null;
  }

  matches(name: string): boolean {
    return this.expression === null || this.expression.test(name);
  }
}

/**
 * A topic permission may name its user and virtual host: `{username}`, `{vhost}`. What they stand for is taken literally.
 * https://www.rabbitmq.com/docs/access-control#topic-authorisation
 */
export function topicPattern(text: string, user: string, vhost: string): NamePattern {
  const expanded = text
    .replaceAll("{username}", () => escaped(user))
    .replaceAll("{vhost}", () => escaped(vhost));
  return new NamePattern(text, expanded);
}

/**
 * RabbitMQ's expressions are Perl's. What JavaScript does not know is refused (the flag `u` sees to that), so that no pattern
 * silently means something else here: without it, `\A` would be the letter.
 */
function compile(text: string): RegExp {
  if (text === "") return /^$/;
  const ignoresCase = text.startsWith("(?i)");
  const source = withoutNeedlessEscapes(ignoresCase ? text.slice(4) : text);
  try {
    return new RegExp(source, ignoresCase ? "iu" : "u");
  } catch (error) {
    throw new Error(`'${text}' cannot be used as a regular expression: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** In Perl any punctuation may be escaped; with the flag `u`, only what has a meaning, and the dash in a class only. */
function withoutNeedlessEscapes(text: string): string {
  let inClass = false;
  return text.replaceAll(/\\.|[[\]]/gsu, (token) => {
    if (token === "[") inClass = true;
    if (token === "]") inClass = false;
    if (token.length === 1) return token;
    const escapes = inClass ? /[\w^$\\.*+?()[\]{}|/-]/ : /[\w^$\\.*+?()[\]{}|/]/;
    return escapes.test(token[1]) ? token : token.slice(1);
  });
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`);
}
