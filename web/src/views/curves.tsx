/** @file Line charts, drawn as the reports draw them. */

import { chartDrawing } from "../../../src/evaluation/report/curves.ts";
import type { Chart } from "../backend.ts";

/** A series named after an expert, or "<expert>-gates", has that expert's mark. */
export function Curves({ charts, experts }: { readonly charts: readonly Chart[]; readonly experts: readonly string[] }) {
  return (
    <>
      {charts.map((chart) => {
        const series = chart.series.map((one, i) => {
          const expert = experts.indexOf(one.name.replace(/-gates$/, ""));
          return { ...one, color: expert < 0 ? experts.length + i : expert };
        });
        const drawing = chartDrawing({ ...chart, series });
        if (!drawing) return null;
        const { width, height, body, names, hasDashed } = drawing;
        return (
          <figure key={chart.title}>
            <h3>{chart.title}</h3>
            {/* The drawing's own texts are escaped where it is made. */}
            <svg
              class="chart"
              viewBox={`0 0 ${width} ${height}`}
              role="img"
              aria-label={`${chart.title}: ${chart.y} by ${chart.x}`}
              dangerouslySetInnerHTML={{ __html: body }}
            />
            <figcaption class="legend">
              {names.map(({ name, mark }) => (
                <span key={name} class={`expert ${mark}`}>
                  {name}
                </span>
              ))}
              {hasDashed ? " dashed: validation" : ""}
            </figcaption>
          </figure>
        );
      })}
    </>
  );
}
