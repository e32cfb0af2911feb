import {
  regionSchema,
  type Finder,
  type Recipe,
  type Region,
  type Station,
  type Template,
} from '../../../main/contract/domain.ts';

/** How a station looks at a part, as a form holds it: all kinds of part finder at once. */
export interface RecipeDraft {
  rotation: Recipe['rotation'];
  columns: number;
  rows: number;
  overlapPercent: number;
  /** One per line: x, y, width, height. */
  regions: string;
  finder: Finder['kind'];
  offsetX: number;
  offsetY: number;
  template: Template | null;
  searchX: number;
  searchY: number;
  minScore: number;
}

const regionText = ({ x, y, width, height }: Region): string => `${x}, ${y}, ${width}, ${height}`;

/** What is no number, and a line of more than four, becomes NaN, which the contract refuses with the place named. */
export function regionOf(line: string): Region {
  const numbers = line
    .normalize('NFKC')
    .trim()
    .split(/\s*[,、]\s*|\s+/)
    .map((text) => (text === '' ? NaN : Number(text)));
  const [x = NaN, y = NaN, width = NaN, height = NaN] = numbers.length > 4 ? [] : numbers;
  return { x, y, width, height };
}

const isRegion = (line: string): boolean => regionSchema.safeParse(regionOf(line)).success;
const linesOf = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

/** The regions that can be read of their text. */
export const regionsOf = (text: string): Region[] => linesOf(text).filter(isRegion).map(regionOf);

/** The text of regions, and after them those lines of before that no region could be read of: somebody may still be typing one. */
export const regionsText = (regions: readonly Region[], before: string): string =>
  [...regions.map(regionText), ...linesOf(before).filter((line) => !isRegion(line))].join('\n');

export function recipeDraftOf(station: Station | null): RecipeDraft {
  const recipe = station?.recipe;
  const finder = recipe?.finder ?? { kind: 'fixed' };
  const offset = finder.kind === 'trigger-offset' ? finder : null;
  const template = finder.kind === 'template' ? finder : null;
  return {
    rotation: recipe?.rotation ?? 0,
    columns: recipe?.tiles.columns ?? 1,
    rows: recipe?.tiles.rows ?? 1,
    overlapPercent: Number((100 * (recipe?.tiles.overlap ?? 0)).toFixed(4)),
    regions: (recipe?.regions ?? []).map(regionText).join('\n'),
    finder: finder.kind,
    offsetX: offset?.x ?? 0,
    offsetY: offset?.y ?? 0,
    template: template?.template ?? null,
    searchX: template?.searchX ?? 200,
    searchY: template?.searchY ?? 200,
    minScore: template?.minScore ?? 0.6,
  };
}

const finderOf = (draft: RecipeDraft): Finder => {
  if (draft.finder === 'trigger-offset') return { kind: 'trigger-offset', x: draft.offsetX, y: draft.offsetY };
  if (draft.finder === 'fixed' || draft.template === null) return { kind: 'fixed' };
  const { template, searchX, searchY, minScore } = draft;
  return { kind: 'template', template, searchX, searchY, minScore };
};

export const recipeInput = (draft: RecipeDraft, station: Station | null): Recipe => ({
  finder: finderOf(draft),
  rotation: draft.rotation,
  regions: linesOf(draft.regions).map(regionOf),
  tiles: { columns: draft.columns, rows: draft.rows, overlap: draft.overlapPercent / 100 },
  maxPixels: station?.recipe.maxPixels ?? 100_000_000,
});
