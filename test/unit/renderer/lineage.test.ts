import { describe, expect, it } from 'vitest';
import { layLineage, MOST_NODES, serviceOrder } from '../../../renderer/features/models/lineage.ts';
import { createWorld } from '../../e2e/fixtures/world.ts';

const { candidates, knowledge } = createWorld('shift');

describe('the lineage', () => {
  it('shows what left the bench, and the path to the selected model', () => {
    const lineage = layLineage([], knowledge, candidates, 'm-0041');
    expect(lineage.models.map(({ value }) => value.id)).toEqual(['m-0036', 'm-0038', 'm-0039', 'm-0041', 'm-0042']);
    const hot = lineage.edges.filter((edge) => edge.hot);
    // k-17 to k-18, k-18 to k-19, k-19 to m-0041.
    expect(hot.map(({ to }) => to.lane)).toEqual(['knowledge', 'knowledge', 'models']);
    expect(lineage.edges.filter(({ dashed }) => dashed)).toHaveLength(1);
  });

  it('shows a candidate of the bench once it is selected', () => {
    expect(layLineage([], knowledge, candidates, 'm-0047').models.map(({ value }) => value.id)).toContain('m-0047');
  });

  it('leaves out the oldest where there are too many, and says how many', () => {
    const many = Array.from({ length: 10 }, (_, i) => ({
      ...candidates[0]!,
      id: `m-${i}`,
      createdAt: new Date(Date.UTC(2026, 0, i + 1)).toISOString(),
    }));
    const lineage = layLineage([], knowledge, many, null);
    expect(lineage.models).toHaveLength(MOST_NODES);
    expect(lineage.hidden).toBe(4);
    expect(lineage.models.at(-1)?.value.id).toBe('m-9');
  });
});

describe('knowledge', () => {
  const states = Array.from({ length: MOST_NODES + 2 }, (_, i) => ({
    ...knowledge[0]!,
    id: `k-${i}`,
    createdAt: new Date(Date.UTC(2026, 0, i + 1)).toISOString(),
  }));
  const from = (knowledgeIds: string[]) =>
    layLineage(
      [],
      states,
      knowledgeIds.map((knowledgeId, i) => ({ ...candidates[0]!, id: `m-${i}`, knowledgeId })),
      null,
    ).knowledge.map(({ value }) => value.id);

  it('of the shown models is shown even where it takes all the room', () => {
    const old = states.slice(0, MOST_NODES).map(({ id }) => id);
    expect(from(old)).toEqual(old);
  });

  it('stands in the order in which it was learnt, though the clock was set back in between', () => {
    const back = states.slice(0, 3).map((state, i) => ({ ...state, createdAt: states[2 - i]!.createdAt }));
    const { knowledge: placed, edges } = layLineage([], back, [], null);
    expect(placed.map(({ value }) => value.id)).toEqual(['k-0', 'k-1', 'k-2']);
    expect(edges.every(({ from, to }) => from.x < to.x)).toBe(true);
  });

  it('that is newest fills the room that is left', () => {
    expect(from(['k-0'])).toEqual(['k-0', 'k-3', 'k-4', 'k-5', 'k-6', 'k-7']);
  });
});

describe('service', () => {
  it('ends with the active model', () => {
    expect(serviceOrder(candidates).map(({ id }) => id)).toEqual(['m-0036', 'm-0039', 'm-0041']);
  });
});
