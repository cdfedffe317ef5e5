// The pool as a picture: three partitions and the links between them. Whoever cannot see it hears one sentence on each;
// no state is told by colour alone.
import type { VNode } from 'preact';
import { lagOf, type PoolView } from './live.js';
import type { Instance } from './shapes.js';

const WIDTH = 400;
const HEIGHT = 288;
const BOX = { width: 172, height: 82 };
/** Centres of the three boxes. */
const PLACES: readonly (readonly [x: number, y: number])[] = [
  [200, 50],
  [92, 238],
  [308, 238],
];
const LINKS: readonly (readonly [number, number])[] = [
  [0, 1],
  [0, 2],
  [1, 2],
];

export function Picture(props: { seen: PoolView }): VNode {
  const { seen } = props;
  const { pool } = seen;
  const members = pool.instances.filter(({ inSync }) => inSync).length;
  return (
    <svg
      class="picture"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      role="img"
      aria-labelledby="picture-title picture-text"
    >
      <title id="picture-title">{`Pool ${pool.name}: ${members} of 3 partitions in sync, epoch ${pool.epoch}`}</title>
      <desc id="picture-text">
        {pool.instances.map((instance) => `Partition ${instance.id}: ${wordsOf(instance)}.`).join(' ')}
      </desc>
      {LINKS.map(([one, other]) => (
        <Link key={`${one}${other}`} one={one} other={other} instances={pool.instances} />
      ))}
      <g class="epoch">
        <text x={WIDTH / 2} y={150} class="number">
          {pool.epoch}
        </text>
        <text x={WIDTH / 2} y={168}>
          epoch
        </text>
      </g>
      {pool.instances.map((instance) => (
        <Partition key={instance.id} instance={instance} lag={lagOf(seen.figures, instance.id)} />
      ))}
    </svg>
  );
}

function Link(props: { one: number; other: number; instances: readonly Instance[] }): VNode {
  const { one, other, instances } = props;
  const [x1, y1] = PLACES[one] ?? [0, 0];
  const [x2, y2] = PLACES[other] ?? [0, 0];
  const ends = [instances[one], instances[other]];
  const whole = ends.every((end) => end?.inSync === true);
  const joining = ends.every((end) => end !== undefined && end.role !== 'down');
  return (
    <line
      class={`link ${whole ? 'whole' : joining ? 'joining' : 'broken'}`}
      x1={x1}
      y1={y1}
      x2={x2}
      y2={y2}
    />
  );
}

function Partition(props: { instance: Instance; lag: number | undefined }): VNode {
  const { instance, lag } = props;
  const [x, y] = PLACES[instance.id] ?? [0, 0];
  const left = x - BOX.width / 2;
  const top = y - BOX.height / 2;
  const state = stateOf(instance);
  const primary = instance.role === 'primary';
  return (
    <g class={`partition ${state.kind}${primary ? ' first' : ''}`} data-partition={instance.id}>
      <rect x={left} y={top} width={BOX.width} height={BOX.height} rx={10} />
      {primary && (
        <rect class="ring" x={left - 4} y={top - 4} width={BOX.width + 8} height={BOX.height + 8} rx={13} />
      )}
      <text x={left + 14} y={top + 24} class="name">
        Partition {instance.id}
      </text>
      <text x={left + BOX.width - 14} y={top + 46} class="role">
        {primary ? '★ primary' : ''}
      </text>
      <text x={left + 14} y={top + 46} class="state">
        {state.sign} {state.word}
      </text>
      <text x={left + 14} y={top + 67} class="detail">
        {lag === undefined ? 'lag –' : `lag ${lag}`} · {lifetimeText(instance)}
      </text>
    </g>
  );
}

interface State {
  readonly kind: 'good' | 'busy' | 'bad';
  readonly sign: string;
  readonly word: string;
}

/** How a partition does, in a word and a sign. */
export function stateOf({ role, inSync, paused, unplugged, joining }: Instance): State {
  if (unplugged) return { kind: 'bad', sign: '▲', word: 'unplugged' };
  if (role === 'down') return { kind: 'bad', sign: '▲', word: 'down' };
  if (paused) return { kind: 'bad', sign: '▲', word: 'paused' };
  if (inSync) return { kind: 'good', sign: '●', word: 'in sync' };
  if (joining && joining.total > 0) {
    return { kind: 'busy', sign: '◐', word: `joining ${joining.done}/${joining.total}` };
  }
  return { kind: 'busy', sign: '◐', word: role === 'starting' ? 'starting' : 'joining' };
}

/** Which process it is that has this place, since the fabric runs. */
function lifetimeText({ restarts }: Instance): string {
  return restarts === 0 ? 'first life' : `life ${restarts + 1}`;
}

function wordsOf(instance: Instance): string {
  const { role, restarts } = instance;
  const state = stateOf(instance);
  const what = role === 'primary' || role === 'backup' ? `${role}, ${state.word}` : state.word;
  return restarts === 0 ? what : `${what}, started again ${restarts} times`;
}
