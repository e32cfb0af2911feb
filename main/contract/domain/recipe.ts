import { z } from 'zod';

/* How a station looks at a part. Sizes in pixels. */

export const regionSchema = z.object({
  x: z.number().int().min(0),
  y: z.number().int().min(0),
  width: z.number().int().min(1),
  height: z.number().int().min(1),
});
export type Region = z.infer<typeof regionSchema>;
/** Places of one defect that a person marks on a picture. */
export const BOXES_AT_MOST = 32;

/** What a part is recognised by: grey values of `region` of the rotated frame it was taught on, `scale` x `scale` pixels to one. */
export const templateSchema = z
  .object({
    region: regionSchema,
    scale: z.number().int().min(1).max(1024),
    width: z.number().int().min(8).max(128),
    height: z.number().int().min(8).max(128),
    /** Bytes, row-major, as base64. */
    pixels: z.base64().max(22_000),
  })
  .refine(({ width, height, pixels }) => Math.floor((pixels.replace(/=+$/, '').length * 3) / 4) === width * height, {
    message: 'a template has width x height pixels',
  });
export type Template = z.infer<typeof templateSchema>;

/** How a part is found; regions are drawn where it lay then and move with it (vision/find-part.ts). */
export const finderSchema = z.discriminatedUnion('kind', [
  /** Where regions were drawn. */
  z.object({ kind: z.literal('fixed') }),
  /** So many pixels from there, since the trigger now comes earlier or later. Regions have to be drawn. */
  z.object({
    kind: z.literal('trigger-offset'),
    x: z.number().int().min(-20_000).max(20_000),
    y: z.number().int().min(-20_000).max(20_000),
  }),
  /** Where its template fits best. Without regions the template's own place is what is judged. */
  z.object({
    kind: z.literal('template'),
    template: templateSchema,
    /** Farthest that the part may lie from where it was taught, pixels. */
    searchX: z.number().int().min(0).max(20_000).default(200),
    searchY: z.number().int().min(0).max(20_000).default(200),
    /** Correlation below which it is not the part: an error, and never ok. */
    minScore: z.number().min(0.1).max(1).default(0.6),
  }),
]);
export type Finder = z.infer<typeof finderSchema>;

/** How a station looks at a part. Rotation is applied to the frame first; regions are in the rotated frame; each region is tiled. */
export const recipeSchema = z.object({
  finder: finderSchema.default({ kind: 'fixed' }),
  rotation: z.union([z.literal(0), z.literal(90), z.literal(180), z.literal(270)]).default(0),
  /** Empty: the whole frame. */
  regions: z.array(regionSchema).max(64).default([]),
  /** Grid per region; overlap is the share of a tile that neighbours have in common. The worst tile decides the part. */
  tiles: z
    .object({
      columns: z.number().int().min(1).max(32).default(1),
      rows: z.number().int().min(1).max(32).default(1),
      overlap: z.number().min(0).max(0.5).default(0),
    })
    .default({ columns: 1, rows: 1, overlap: 0 }),
  maxPixels: z.number().int().min(1).default(100_000_000),
});
export type Recipe = z.infer<typeof recipeSchema>;
