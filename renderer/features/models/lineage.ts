import type { Backbone, Candidate, Knowledge } from '../../../main/contract/domain.ts';

/* Where the nodes of the lineage stand, in per cent of the drawing. Pure. */

export interface PlacedNode<T> {
  value: T;
  x: number;
}
export interface Edge {
  from: { x: number; lane: Lane };
  to: { x: number; lane: Lane };
  /** On the path to the selected model. */
  hot: boolean;
  dashed: boolean;
}
export type Lane = 'backbone' | 'knowledge' | 'models';
export interface Lineage {
  backbones: PlacedNode<Backbone>[];
  knowledge: PlacedNode<Knowledge>[];
  models: PlacedNode<Candidate>[];
  edges: Edge[];
  /** Knowledge and models that are older than what fits. */
  hidden: number;
}

/** Nodes of 126 px with some air fit at 1,280 px. */
export const MOST_NODES = 6;
const LEFT = 2;
const RIGHT = 98;

/** A few stand side by side; from four on they use the whole width. */
const spread = (count: number, i: number): number =>
  count <= 1 ? LEFT : LEFT + (i * (RIGHT - LEFT)) / (count >= 4 ? count - 1 : MOST_NODES - 1);
const isBench = ({ state }: Candidate): boolean => state === 'candidate';

/**
 * Models that left the bench (submitted or decided), with the knowledge that they came from.
 * @param knowledge oldest first
 */
export function layLineage(
  backbones: readonly Backbone[],
  knowledge: readonly Knowledge[],
  candidates: readonly Candidate[],
  selectedId: string | null,
): Lineage {
  const decided = candidates
    .filter((candidate) => !isBench(candidate) || candidate.id === selectedId)
    .sort((a, b) => a.createdAt.localeCompare(b.createdAt));
  const models = decided.slice(-MOST_NODES);
  // The newest states, and always those that a shown model came from.
  const needed = new Set(models.map(({ knowledgeId }) => knowledgeId));
  const room = MOST_NODES - needed.size;
  // slice(-0) would be all of them.
  const others = room > 0 ? knowledge.filter(({ id }) => !needed.has(id)).slice(-room) : [];
  const states = knowledge.filter((state) => needed.has(state.id) || others.includes(state)).slice(-MOST_NODES);
  const used = new Set([...states.map(({ backboneId }) => backboneId), ...models.map(({ backboneId }) => backboneId)]);
  const shown = backbones.filter(({ id }) => used.has(id)).slice(0, MOST_NODES);

  const placedStates = states.map((value, i) => ({ value, x: spread(states.length, i) }));
  const placedModels = models.map((value, i) => ({ value, x: spread(models.length, i) }));
  const placedBackbones = shown.map((value, i) => ({ value, x: spread(shown.length, i) }));

  const selected = models.find(({ id }) => id === selectedId) ?? null;
  const selectedAt = placedStates.findIndex(({ value }) => value.id === selected?.knowledgeId);
  const edges: Edge[] = [];
  placedStates.forEach(({ value, x }, i) => {
    const before = placedStates[i - 1];
    if (before && before.value.backboneId === value.backboneId)
      edges.push({
        from: { x: before.x, lane: 'knowledge' },
        to: { x, lane: 'knowledge' },
        hot: i <= selectedAt,
        dashed: false,
      });
    const backbone = placedBackbones.find((placed) => placed.value.id === value.backboneId);
    const first = placedStates.find((placed) => placed.value.backboneId === value.backboneId);
    if (backbone && first?.value === value)
      edges.push({
        from: { x: backbone.x, lane: 'backbone' },
        to: { x, lane: 'knowledge' },
        hot: false,
        dashed: false,
      });
  });
  for (const { value, x } of placedModels) {
    const parent = placedStates.find((placed) => placed.value.id === value.knowledgeId);
    if (!parent) continue;
    edges.push({
      from: { x: parent.x, lane: 'knowledge' },
      to: { x, lane: 'models' },
      hot: value.id === selectedId,
      dashed: value.state === 'submitted' || value.state === 'candidate',
    });
  }
  return {
    backbones: placedBackbones,
    knowledge: placedStates,
    models: placedModels,
    edges,
    hidden: decided.length - models.length,
  };
}

/** Models that have inspected, in the order of their last activation; the active one last. */
export const serviceOrder = (candidates: readonly Candidate[]): Candidate[] =>
  candidates
    .filter(({ activatedAt }) => activatedAt !== null)
    .sort(
      (a, b) =>
        Number(a.state === 'active') - Number(b.state === 'active') ||
        (a.activatedAt ?? '').localeCompare(b.activatedAt ?? ''),
    );
