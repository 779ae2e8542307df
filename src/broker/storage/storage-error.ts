/** The data directory cannot be used, or can no longer be trusted. The message says what, where, and what to do. */
export class StorageError extends Error {
  override readonly name = "StorageError";
  /** "in-use": another broker has the directory, and there is nothing wrong with it. */
  readonly code: "in-use" | undefined;

  constructor(message: string, options: ErrorOptions & { code?: "in-use" } = {}) {
    super(message, options);
    this.code = options.code;
  }
}

/** What is wrong in one place of a data directory. */
export class CorruptionError extends StorageError {
  readonly file: string;
  readonly offset: number;

  constructor(directory: string, file: string, offset: number, what: string) {
    super(
      `${directory}/${file} is damaged at byte ${offset}: ${what}. ` +
        `Nothing was changed. "warren check-data ${directory}" says more; with --repair it keeps what can be read.`,
    );
    this.file = file;
    this.offset = offset;
  }
}
