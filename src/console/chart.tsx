// One chart of the last minutes: lines told apart by dashes as well as colours, and their present values in words. The
// drawing is for who sees it; everybody else has the words.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { VNode } from 'preact';
import UPlot from 'uplot';

export interface Line {
  readonly label: string;
  /** One for each moment; null where nothing is known. */
  readonly values: readonly (number | null)[];
}

/** Of the lines in order; `chart-1` and so on in the style sheet say the colours. */
const DASHES: readonly (readonly number[])[] = [[], [7, 4], [2, 3], [10, 4, 2, 4]];
const HEIGHT = 150;
/** The width of the drawing before it is measured. */
const WIDTH = 320;
/** Seconds that it shows. */
const SPAN = 300;
/** The same while less is known. */
const SPAN_LEAST = 60;
/** What a logarithmic axis of seconds shows: powers of ten from below half a millisecond to ten seconds. */
const DECADES = [-3, -2, -1, 0, 1];
const DECADE_RANGE: [number, number] = [-3.4, 1.1];

export function Chart(props: {
  title: string;
  unit: string;
  /** Seconds since 1970. */
  times: readonly number[];
  lines: readonly Line[];
  text: (value: number | null) => string;
  /** The least that the vertical axis reaches up to. */
  atLeast: number;
  logarithmic?: boolean;
}): VNode {
  const { title, unit, times, lines, text, atLeast, logarithmic = false } = props;
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | undefined>(undefined);
  const dark = useDark();

  useEffect(() => {
    const { current: home } = place;
    if (!home) return undefined;
    const style = getComputedStyle(home);
    const colour = (name: string): string => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour('--quiet'),
      font: '11px system-ui, sans-serif',
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
    };
    const made = new UPlot(
      {
        width: home.clientWidth || WIDTH,
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        padding: [8, 22, 0, 0],
        scales: {
          x: {
            time: true,
            range: ({ data: [moments] }) => spanOf(moments),
          },
          y: logarithmic
            ? { range: DECADE_RANGE }
            : { range: (_plot, _least, most) => [0, Math.max(atLeast, (most || 0) * 1.1)] },
        },
        axes: [
          { ...axis, size: 26, space: 70, values: (_plot, ticks) => ticks.map(hourText) },
          {
            ...axis,
            size: 46,
            ...(logarithmic && { splits: () => DECADES, filter: () => DECADES }),
            values: (_plot, ticks) => ticks.map((tick) => (logarithmic ? decadeText(tick) : String(tick))),
          },
        ],
        series: [
          {},
          ...lines.map((line, place) => ({
            label: line.label,
            stroke: colour(`--chart-${place + 1}`),
            width: 1.75,
            dash: [...(DASHES[place] ?? [])],
            points: { show: false },
          })),
        ],
      },
      dataOf(times, lines, logarithmic),
      home,
    );
    plot.current = made;
    const watcher = new ResizeObserver(() => {
      if (home.clientWidth > 0) made.setSize({ width: home.clientWidth, height: HEIGHT });
    });
    watcher.observe(home);
    return () => {
      watcher.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [dark, lines.length]);

  useEffect(() => plot.current?.setData(dataOf(times, lines, logarithmic)));

  return (
    <figure class="chart">
      <figcaption>
        {title} <span class="unit">{unit}</span>
      </figcaption>
      <div class="drawing" ref={place} aria-hidden="true" />
      <ul class="legend">
        {lines.map((line, place) => (
          <li key={line.label}>
            <svg viewBox="0 0 24 6" aria-hidden="true" class={`sample chart-${place + 1}`}>
              <line x1="0" y1="3" x2="24" y2="3" stroke-dasharray={DASHES[place]?.join(' ')} />
            </svg>
            {line.label} <b>{text(line.values.at(-1) ?? null)}</b>
          </li>
        ))}
      </ul>
    </figure>
  );
}

function dataOf(times: readonly number[], lines: readonly Line[], logarithmic: boolean): UPlot.AlignedData {
  const placed = (value: number | null): number | null =>
    logarithmic && value !== null ? Math.log10(value) : value;
  return [[...times], ...lines.map(({ values }) => values.map(placed))];
}

/** From the first moment on, within bounds. */
function spanOf(moments: ArrayLike<number>): [number, number] {
  const most = moments[moments.length - 1] ?? 0;
  const span = Math.min(SPAN, Math.max(SPAN_LEAST, most - (moments[0] ?? 0)));
  return [most - span, most];
}

function hourText(seconds: number): string {
  const at = new Date(seconds * 1_000);
  const two = (number: number): string => String(number).padStart(2, '0');
  return `${two(at.getHours())}:${two(at.getMinutes())}${at.getSeconds() === 0 ? '' : `:${two(at.getSeconds())}`}`;
}

function decadeText(power: number): string {
  return power < 0 ? `${10 ** (power + 3)} ms` : `${10 ** power} s`;
}

/** Whether the reader's system is dark, as it is now. */
function useDark(): boolean {
  const [dark, setDark] = useState(() => matchMedia('(prefers-color-scheme: dark)').matches);
  useEffect(() => {
    const query = matchMedia('(prefers-color-scheme: dark)');
    const changed = (): void => setDark(query.matches);
    query.addEventListener('change', changed);
    return () => query.removeEventListener('change', changed);
  }, []);
  return dark;
}
