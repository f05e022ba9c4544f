/** @file The key of a metric among a task's results: "<metric>", or "<metric>,<pipeline>" for answers that a pipeline of filters cleaned,
 *  as lm-evaluation-harness writes it. */

const NO_PIPELINE = "none";

export interface MetricKey {
  readonly metric: string;
  /** The name of the pipeline of filters; absent without filters. */
  readonly pipeline?: string | undefined;
}

export function metricKey({ metric, pipeline }: MetricKey): string {
  return pipeline === undefined ? metric : `${metric},${pipeline}`;
}

export function parsedMetricKey(key: string): MetricKey {
  const comma = key.indexOf(",");
  return comma < 0 ? { metric: key } : { metric: key.slice(0, comma), pipeline: key.slice(comma + 1) };
}

/** The harness's keys of a metric and its standard error: "acc" -> "acc,none" and "acc_stderr,none". */
export function harnessKeys(key: string): { value: string; error: string } {
  const { metric, pipeline = NO_PIPELINE } = parsedMetricKey(key);
  return { value: metricKey({ metric, pipeline }), error: metricKey({ metric: `${metric}_stderr`, pipeline }) };
}
