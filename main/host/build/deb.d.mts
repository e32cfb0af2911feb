export const DEPENDS: string[];
export function debCanBeMade(): boolean;
export function makeDeb(options: { unpacked: string; into: string; compression?: string[] }): Promise<string>;
