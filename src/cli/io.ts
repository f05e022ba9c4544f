/** @file The output of a command: results go to out, progress and messages to err. Tests pass their own. */

export interface Io {
  /** The result: text for people, or one JSON document with --json. */
  readonly out: (text: string) => void;
  /** Progress, warnings and errors. */
  readonly err: (text: string) => void;
  /** Whether err is a terminal. */
  readonly terminal: boolean;
  /** Width of that terminal. */
  readonly columns: number;
  /** Whether the result may carry colors: out is a terminal, and NO_COLOR is not set. */
  readonly colors: boolean;
}

/** The flags of every command. */
export interface CommonFlags {
  readonly json?: boolean;
}

/** The process's own streams. A reader that closes early (`| head`) is not an error. */
export function processIo(): Io {
  const { stdout, stderr } = process;
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  return {
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    terminal: stderr.isTTY === true,
    colors: stdout.isTTY === true && !process.env.NO_COLOR,
    columns: stderr.columns ?? 80,
  };
}

/** Prints a result as text, or with --json as one line of JSON. */
export function show(io: Io, flags: CommonFlags, value: unknown, text: string): void {
  io.out(flags.json ? `${JSON.stringify(value)}\n` : `${text}\n`);
}

/** Prints warnings, which do not stop the command. */
export function warn(io: Io, flags: CommonFlags, warnings: readonly string[]): void {
  for (const warning of warnings) io.err(flags.json ? `${JSON.stringify({ warning })}\n` : `warning: ${warning}\n`);
}

/** Rows of text in columns as wide as their longest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
