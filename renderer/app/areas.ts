/** The eight areas of the rail, in its order. */
export const areas = ['live', 'label', 'learn', 'approve', 'models', 'reports', 'settings', 'audit'] as const;
export type Area = (typeof areas)[number];

/** `#/label` -> label; anything else is Live. */
export function areaOfHash(hash: string): Area {
  const name = hash.replace(/^#\//, '');
  return areas.find((area) => area === name) ?? 'live';
}
